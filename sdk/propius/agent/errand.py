"""A child process that does one thing, answers, and never outlives the call that waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass

from propius.training import limits

COMPLAINT_BYTES = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What the child said, and the last line it complained with, or how it ended."""

    said: bytes
    complaint: str


async def run(module: str, argument: str, *, timeout_s: float) -> Answer:
    """Run a module of ours; its processes are killed when the call is cancelled or too late.

    Raises
    ------
    TimeoutError
        It took longer.
    OSError
        It cannot be started.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # The folder that we happen to be in is no place to import from.
        "-m",
        module,
        argument,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **limits.frugal(threads=1)},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await _heard(child)
    finally:
        # Its own session: whatever it started goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
        # Closes our ends of the pipes now, not at garbage collection.
        child._transport.close()  # type: ignore[attr-defined]


async def _heard(child: asyncio.subprocess.Process) -> Answer:
    assert child.stdout is not None
    assert child.stderr is not None
    said, complaint = await asyncio.gather(child.stdout.read(), _end_of(child.stderr))
    status = await child.wait()
    how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
    last = complaint.decode(errors="replace").strip().splitlines()[-1:]
    return Answer(said, "".join(last) or f"its process {how}")


async def _end_of(stream: asyncio.StreamReader) -> bytes:
    """Read to the end and keep the last of it: a child may complain without end."""
    kept = b""
    while part := await stream.read(1 << 16):
        kept = (kept + part)[-COMPLAINT_BYTES:]
    return kept
