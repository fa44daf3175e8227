"""A leaf's process: its parts, its heartbeat, and the server that devices reach."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aggregation import blobs, tickets
from aggregation.leaf import messages
from aggregation.leaf.cache import ParameterCache
from aggregation.leaf.journal import Journal
from aggregation.leaf.keeper import Keeper, When
from aggregation.leaf.plane import LeafPlane, LeafThreads
from aggregation.leaf.root import Root, RootAway
from core.errors import PropiusError
from propius import __version__

logger = logging.getLogger(__name__)

BUSY_BEAT_S = 0.5
IDLE_BEAT_S = 2.0
TIDY_S = 60.0
ABANDONED_S = 600.0
"""Uploads that nothing came for so long are not gone on with here: their devices went to the root,
or to other rounds. One that comes after all begins anew."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator says of a leaf."""

    root: str
    token: str
    folder: Path
    host: str = "127.0.0.1"
    port: int = 8100
    cache_bytes: int = 20 << 30
    push: When = field(default_factory=When)


class ShutOut(Exception):
    """The root does not know this leaf's token: only a person can mend that."""


class Leaf:
    """One process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._threads = LeafThreads()
        self._root = Root(options.root, options.token)
        journal = Journal(options.folder / "held")
        self._keeper = Keeper(self._root, journal, self._threads, options.push)
        self._cache = ParameterCache(
            self._root, self._threads, max_bytes=options.cache_bytes, pinned=self._keeper.pinned
        )
        self._plane = LeafPlane(self._cache, self._keeper, self._threads)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ShutOut."""
        config = uvicorn.Config(
            self._plane,
            host=self._options.host,
            port=self._options.port,
            lifespan="off",
            access_log=False,
            server_header=False,
            log_config=None,
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        await self._keeper.start()
        tasks = {
            asyncio.create_task(self._beats()),
            asyncio.create_task(self._keeper.run()),
            asyncio.create_task(self._tidies()),
            asyncio.create_task(server.serve()),
        }
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
        finally:
            server.should_exit = True
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._root.close()
            self._threads.stop()

    async def _tidies(self) -> None:
        while True:
            try:
                clear = partial(blobs.store().clear_incoming, older_s=ABANDONED_S)
                count = await self._threads.files(clear)
            except OSError as error:
                logger.error("leaf.not_tidied", extra={"reason": str(error)})
            else:
                if count:
                    logger.info("leaf.tidied", extra={"count": count})
            await asyncio.sleep(TIDY_S)

    async def _beats(self) -> None:
        while True:
            try:
                await self._beat()
            except RootAway as error:
                logger.warning("leaf.root_away", extra={"reason": str(error)})
            except PropiusError as error:
                if error.code == "leaf_unknown":
                    raise ShutOut(str(error)) from error
                logger.warning("leaf.not_heard", extra={"reason": str(error)})
            is_busy = self._keeper.held or self._plane.transfers.has_news
            await asyncio.sleep(BUSY_BEAT_S if is_busy else IDLE_BEAT_S)

    async def _beat(self) -> None:
        load = await self._load()
        told = await self._root.beat(load, self._keeper.asked_about(), self._plane.moving())
        if not self._plane.keys:
            logger.info("leaf.ready", extra={"leaf": told.leaf, "root": self._options.root})
        self._plane.keys = tickets.by_id(
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(one)) for one in told.keys
        )
        self._keeper.fold_batch = told.fold_batch
        self._keeper.told(told.rounds)

    async def _load(self) -> messages.Load:
        usage = await self._threads.files(lambda: shutil.disk_usage(self._options.folder))
        return messages.Load(
            free_bytes=usage.free,
            cached_bytes=await self._cache.cached_bytes(),
            held=self._keeper.held,
            version=__version__,
        )
