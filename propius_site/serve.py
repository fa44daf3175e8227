"""Run one ASGI application: `python -m propius_site.serve web|gateway`."""

import gc
import logging
import os
import signal
import socket
import sys
import warnings

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
    server = Server(config)
    server.run()
    sys.exit(0 if server.started else 3)


if __name__ == "__main__":
    main(sys.argv[1])
