"""Open pages of the dashboard, as browsers hold them, in a process of their own.

What reads them must not share its interpreter with the devices whose waits are measured. Parent and
child talk over a pipe: :class:`Pages` asks, :func:`serve` answers.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from typing import Any

import uvloop
import websockets

OPENED_AT_ONCE = 20
TELLING = ('id="in-progress"', 'id="list"', 'id="state"')
"""The sections of the three kinds of page that tell the state of a job."""
PAUSED = ">Paused<"
Address = tuple[str, str, str]
"""Whose page, its path, and the session that opens it."""


class Pages:
    """All open pages, from :meth:`open` to :meth:`close`."""

    def __init__(self, port: int, addresses: list[Address]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, port, addresses), daemon=True)

    async def open(self) -> float:
        """Open all pages; return how many seconds that took."""
        self._process.start()
        took_s: float = await self._answer()
        return took_s

    async def told(self, whose: str, is_paused: bool, within_s: float) -> tuple[list[float], int]:
        """Return when each page of a tenant said so (monotonic clock), and how many did not."""
        self._pipe.send((whose, is_paused, within_s))
        found: tuple[list[float], int] = await self._answer()
        return found

    async def close(self) -> Counter[str]:
        """Close all pages; return the messages and bytes that they got."""
        self._pipe.send(None)
        sums: Counter[str] = await self._answer()
        await asyncio.to_thread(self._process.join)
        return sums

    async def _answer(self) -> Any:
        return await asyncio.to_thread(self._pipe.recv)


def serve(pipe: Any, port: int, addresses: list[Address]) -> None:
    """Be the browsers of one :class:`Pages`."""
    uvloop.run(_serve(pipe, port, addresses))


async def _serve(pipe: Any, port: int, addresses: list[Address]) -> None:
    pages = [_Page(*one) for one in addresses]
    began, doors = time.monotonic(), asyncio.Semaphore(OPENED_AT_ONCE)

    async def enter(page: _Page) -> None:
        async with doors:
            await page.open(port)

    await asyncio.gather(*map(enter, pages))
    pipe.send(time.monotonic() - began)
    while asked := await asyncio.to_thread(pipe.recv):
        pipe.send(await _told(pages, *asked))
    await asyncio.gather(*(page.close() for page in pages))
    pipe.send(Counter(messages=sum(p.messages for p in pages), bytes=sum(p.bytes for p in pages)))


async def _told(
    pages: list[_Page], whose: str, is_paused: bool, within_s: float
) -> tuple[list[float], int]:
    mine = [page for page in pages if page.whose == whose]
    until = time.monotonic() + within_s
    while any(page.is_paused != is_paused for page in mine) and time.monotonic() < until:
        await asyncio.sleep(0.01)
    told = [page.turned_at for page in mine if page.is_paused == is_paused]
    return told, len(mine) - len(told)


class _Page:
    """One open page: what it shows, and since when it says that its tenant's job is paused."""

    def __init__(self, whose: str, path: str, session: str) -> None:
        self.whose = whose
        self.path = path
        self.session = session
        self.socket: Any = None
        self.reading: asyncio.Task[None] | None = None
        self.messages = self.bytes = 0
        self.is_paused = False
        self.turned_at = 0.0

    async def open(self, port: int) -> None:
        """Connect, see the page as it is, and read on."""
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{port}{self.path}",
            additional_headers={
                "Cookie": f"sessionid={self.session}", "Origin": f"http://127.0.0.1:{port}",
            },
            max_size=None, compression=None, open_timeout=60, ping_interval=None,
        )  # fmt: skip
        self._take(await self.socket.recv())
        self.reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Leave as a closed tab does."""
        if self.reading is not None:
            self.reading.cancel()
        await self.socket.close()

    async def _read(self) -> None:
        async for message in self.socket:
            self._take(message)

    def _take(self, html: str) -> None:
        self.messages += 1
        self.bytes += len(html)
        if any(one in html for one in TELLING) and (PAUSED in html) != self.is_paused:
            self.is_paused, self.turned_at = not self.is_paused, time.monotonic()
