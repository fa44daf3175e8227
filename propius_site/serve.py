"""Run one ASGI application: `python -m propius_site.serve web|gateway`."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn

from propius_site.embedded import processes

MAX_WEBSOCKET_MESSAGE = 1024 * 1024  # the wire's largest frame is a quarter of this


class Server(uvicorn.Server):
    """uvicorn's server that takes what start-up made out of the garbage collector's sight."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        # A line for each device that connects would be most of the log, and a cost.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        gc.collect()
        gc.freeze()


class DrainingServer(Server):
    """A server that ends in two steps: at TERM it sends its devices away, and only then closes.

    uvicorn alone would close all sockets at once, and all devices would come back at once.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first TERM of a server that serves; all else ends it as it always does."""
        if sig != signal.SIGTERM or not self.started or sig in self._captured_signals:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._draining = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        for server in self.servers:
            server.close()  # who comes now finds another gateway
        try:
            await self._drain()
        finally:
            self.should_exit = True


def main(name: str) -> None:
    processes.die_with_parent(signal.SIGTERM)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "propius_site.settings")
    from django.conf import settings

    port = {"web": settings.PROPIUS_WEB_PORT, "gateway": settings.PROPIUS_GATEWAY_PORT}[name]
    # whitenoise hands over small static files as plain iterators; Django reads them whole.
    warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")
    # Tens of thousands of long-lived sessions: rare, cheap young collections.
    gc.set_threshold(50_000, 50, 50)
    config = uvicorn.Config(
        f"propius_site.asgi:{name}",
        host=settings.PROPIUS_BIND,
        port=port,
        loop="uvloop",
        http="propius_site.patience:PatientProtocol",
        ws="gateway.sockets:DeviceSocket" if name == "gateway" else "websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_MESSAGE,
        ws_per_message_deflate=name == "web",  # parameters do not compress
        lifespan="off" if name == "web" else "on",
        backlog=8192,  # after a restart all devices come at once; the kernel may allow fewer
        access_log=False,
        server_header=False,
        log_config=None,  # Django's settings configure the logs
        timeout_graceful_shutdown=3,
    )
    server = Server(config) if name == "web" else _gateway_server(config)
    server.run()
    sys.exit(0 if server.started else 3)


def _gateway_server(config: uvicorn.Config) -> Server:
    async def drain() -> None:
        from gateway.app import gateway  # there is none before the configuration is loaded

        await gateway.drain()

    return DrainingServer(config, drain)


if __name__ == "__main__":
    main(sys.argv[1])
