"""Parameters and programs that devices of this leaf have asked for: fetched once, kept by use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from contextlib import aclosing
from functools import partial

from aggregation import blobs
from aggregation.leaf.root import Root, RootAway
from aggregation.transfer.threads import Threads

Pinned = Callable[[], Collection[str]]
"""Digests that must stay: updates that the root has not got, sums of them, and their bases."""

Entry = tuple[float, int, str]
"""When a blob was last used, its size and its digest."""


class ParameterCache:
    """A cap over the leaf's blob store: what is not pinned goes, the longest unused first."""

    def __init__(self, root: Root, threads: Threads, *, max_bytes: int, pinned: Pinned) -> None:
        self._root = root
        self._threads = threads
        self._max_bytes = max_bytes
        self._pinned = pinned
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self.fetched = 0

    async def ensure(self, digest: str, ticket: str) -> None:
        """Return when the blob is here; many who ask at once cause one fetch.

        Raises RootAway, RootRefused, StorageFull.
        """
        if await self._threads.files(partial(_touch, digest)):
            return
        task = self._fetching.get(digest)
        if task is None:
            task = self._fetching[digest] = asyncio.create_task(self._fetch(digest, ticket))
            task.add_done_callback(lambda done: self._fetched(digest, done))
        await asyncio.shield(task)

    async def cached_bytes(self) -> int:
        """Return how much is here that may go."""
        return sum(size for _, size, _ in await self._free_to_go())

    async def evict(self, keep: str = "") -> None:
        """Make room for ``keep``, which is here and counts."""
        entries = await self._free_to_go()
        await self._threads.files(partial(_make_room, entries, self._max_bytes, keep))

    async def _free_to_go(self) -> list[Entry]:
        entries = await self._threads.files(_entries)
        # Asked on the loop, where it changes, and after the look at the disk: an update is pinned
        # before its file is there.
        pinned = self._pinned()
        return [one for one in entries if one[2] not in pinned]

    def _fetched(self, digest: str, done: asyncio.Task[None]) -> None:
        self._fetching.pop(digest, None)
        if not done.cancelled():
            done.exception()  # told to everyone who waits; with nobody left it is no warning

    async def _fetch(self, digest: str, ticket: str) -> None:
        store = blobs.store()
        with await self._threads.files(store.writer) as writer:
            async with aclosing(self._root.fetch(digest, ticket)) as chunks:
                async for chunk in chunks:
                    await self._threads.files(partial(writer.write, chunk))
            found = await self._threads.files(writer.commit)
        self.fetched += writer.size_bytes
        if found != digest:
            raise RootAway(f"the bytes that came for {digest} have SHA-256 {found}")
        await self.evict(digest)


def _touch(digest: str) -> bool:
    try:
        path = blobs.store().path(digest)
        os.utime(path)
    except (blobs.BlobMissing, FileNotFoundError):
        return False
    return True


def _make_room(entries: list[Entry], max_bytes: int, keep: str) -> None:
    total = sum(size for _, size, _ in entries)
    for _, size, digest in sorted(entries):
        if total <= max_bytes:
            return
        if digest != keep and blobs.store().delete(digest, grace_s=0.0):
            total -= size


def _entries() -> list[Entry]:
    found = []
    for digest in blobs.store().digests():
        try:
            state = blobs.store().path(digest).stat()
        except (blobs.BlobMissing, FileNotFoundError):
            continue
        found.append((state.st_mtime, state.st_size, digest))
    return found
