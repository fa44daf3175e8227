"""A client that goes away while a file is opened or read for it; a FIFO makes both wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from aggregation.api import streams


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def open_at(path: Path) -> int:
    """Count this process's descriptors of a file."""
    count = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += one.readlink() == path
    return count


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def write_on(descriptor: int) -> None:
    """Write until nobody has the other end open."""
    while True:
        os.write(descriptor, b"x")
        await asyncio.sleep(0.01)


async def cancelled(task: asyncio.Task[bytes]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_file_is_not_closed_while_a_thread_reads_it(fifo):
    async def main() -> None:
        writer = os.open(fifo, os.O_RDWR)
        try:
            sent = streams.sent(fifo)
            os.write(writer, b"one")
            assert await anext(sent) == b"one"
            task = asyncio.ensure_future(anext(sent))
            await turns()
            task.cancel()
            await turns()
            assert open_at(fifo) == 2
            os.write(writer, b"two")
            await cancelled(task)
            assert open_at(fifo) == 1
        finally:
            os.write(writer, b"end")  # for a thread that still reads
            os.close(writer)

    asyncio.run(main())


def test_a_file_that_is_opened_for_nobody_is_closed(fifo):
    async def main() -> None:
        task = asyncio.ensure_future(anext(streams.sent(fifo)))
        await turns()
        task.cancel()
        await cancelled(task)
        writer = os.open(fifo, os.O_WRONLY)  # returns as the reader's open does
        async with asyncio.timeout(20):
            with pytest.raises(BrokenPipeError):
                await write_on(writer)
        os.close(writer)

    asyncio.run(main())


def test_a_file_is_sent_whole(tmp_path):
    data = os.urandom(3 * streams.CHUNK_BYTES // 2)
    (tmp_path / "file").write_bytes(data)

    async def main() -> bytes:
        return b"".join([chunk async for chunk in streams.sent(tmp_path / "file")])

    assert asyncio.run(main()) == data
