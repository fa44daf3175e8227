"""Starts the client under test once a case, and tells which cases it passes.

The client is a command. Its environment has ``PROPIUS_URL`` and ``PROPIUS_TOKEN`` to enrol with,
``PROPIUS_DEVICE_HOME``, an empty folder, and ``PROPIUS_MODE``, ``socket`` or ``once``. It has one
handler, ``add_one``, which adds 1 to each value after ``config.seconds``, and one data set,
``numbers``, with 10 examples, of which it tells nobody: the private attribute ``examples`` is 10,
and so is the weight of what it sends.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from propius.conformance import sockets, visits
from propius.conformance.gateway import TOKEN, Failed, Gateway, within

Mode = Literal["socket", "once"]
Case = Callable[[Gateway], Awaitable[None]]
CASES: dict[Mode, tuple[Case, ...]] = {"socket": sockets.CASES, "once": visits.CASES}
STOP_S = 5.0
LAST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case; ``fault`` is empty if the client passed."""

    mode: Mode
    case: str
    says: str
    fault: str = ""


async def run(command: str, mode: Mode, case: Case) -> Verdict:
    """Run one case."""
    gateway = Gateway(mode)
    name, says = getattr(case, "__name__", ""), (case.__doc__ or "").strip()
    with tempfile.TemporaryDirectory(prefix="propius-conformance-") as folder:
        log = Path(folder) / "client.log"
        async with gateway.running(), _client(command, mode, gateway.url, folder, log) as client:
            try:
                await _either(case(gateway), client)
                if mode == "once":
                    await within("end of the client", client.wait())
            except Failed as fault:
                words = log.read_text(errors="replace")[-LAST_WORDS:].strip()
                told = f"{fault}\nthe client said: {words}" if words else str(fault)
                return Verdict(mode, name, says, told)
    return Verdict(mode, name, says)


async def _either(script: Awaitable[None], client: asyncio.subprocess.Process) -> None:
    """Run the script; a client that ends before it has failed."""
    scripted = asyncio.ensure_future(script)
    ended = asyncio.create_task(client.wait())
    try:
        await asyncio.wait({scripted, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not scripted.done():
            # Its last words may still be on their way.
            await asyncio.wait({scripted}, timeout=1.0)
        if not scripted.done():
            raise Failed(f"the client ended with status {client.returncode}")
        scripted.result()
    finally:
        for one in (scripted, ended):
            one.cancel()
        await asyncio.gather(scripted, ended, return_exceptions=True)


@asynccontextmanager
async def _client(
    command: str, mode: Mode, url: str, folder: str, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    home = Path(folder) / "home"
    home.mkdir()
    asked = {
        "PROPIUS_URL": url,
        "PROPIUS_TOKEN": TOKEN,
        "PROPIUS_MODE": mode,
        "PROPIUS_DEVICE_HOME": str(home),
    }
    with log.open("wb") as out:
        options: dict[str, Any] = {"stdout": out, "stderr": out, "start_new_session": True}
        client = await asyncio.create_subprocess_exec(
            *shlex.split(command), env=os.environ | asked, **options
        )
    try:
        yield client
    finally:
        for one in (signal.SIGTERM, signal.SIGKILL):
            if client.returncode is not None:
                break
            # Its whole group: a shell may stand between.
            os.killpg(client.pid, one)
            try:
                await asyncio.wait_for(client.wait(), STOP_S)
            except TimeoutError:
                continue


async def run_all(
    command: str, modes: tuple[Mode, ...], told: Callable[[Verdict], None], *, at_once: int = 4
) -> list[Verdict]:
    """Run all cases, some at a time; ``told`` hears of each as it ends."""
    places = asyncio.Semaphore(at_once)

    async def one(mode: Mode, case: Case) -> Verdict:
        async with places:
            verdict = await run(command, mode, case)
        told(verdict)
        return verdict

    wanted = [(mode, case) for mode in modes for case in CASES[mode]]
    return list(await asyncio.gather(*(one(mode, case) for mode, case in wanted)))
