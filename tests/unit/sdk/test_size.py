"""What the agent costs its owner before any job: disk when installed, memory when idle."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import sys
from pathlib import Path

import psutil

from propius import wire
from tests.unit.sdk.agent.scripted import Peer, device_home, gateway, point_to

SDK = Path(__file__).parents[3] / "sdk" / "propius"
INSTALLED_MB, RESIDENT_MB = 110, 60
# Here Celery brings click, and httpx then loads a command line of its own; a device has neither.
RUN = "import sys; sys.modules['click'] = None; from propius.cli import app; app()"


def dependencies(name: str, found: set[str]) -> set[str]:
    """Return the distributions that ``name`` needs without extras, itself included."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    try:
        needs = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return found  # for another system or Python
    if name not in found:
        found.add(name)
        for one in needs:
            if "extra ==" not in one:
                dependencies(re.split(r"[^A-Za-z0-9_.-]", one)[0], found)
    return found


def test_it_is_installed_within_its_size() -> None:
    names = dependencies("propius-sdk", set())
    assert {"numpy", "cryptography", "websockets"} <= names
    assert "torch" not in names
    size = sum(one.stat().st_size for one in SDK.rglob("*.py"))
    for name in names - {"propius-sdk"}:
        for file in importlib.metadata.files(name) or []:
            path = Path(str(file.locate()))
            if "__pycache__" not in path.parts and path.is_file():
                size += path.stat().st_size
    assert size / 1e6 <= INSTALLED_MB, f"{size / 1e6:.0f} MB"


async def test_it_is_idle_within_its_memory(tmp_path: Path) -> None:
    home = device_home(tmp_path / "device")
    idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(wire.Idle())
        idle.set()
        await peer.socket.wait_closed()

    async with gateway(script) as one:
        point_to(home, one.url)
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, "device", "run", "--home", str(home),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await asyncio.wait_for(idle.wait(), 30)
            resident = psutil.Process(agent.pid).memory_info().rss
        finally:
            agent.terminate()
            await agent.wait()
    assert resident / 1e6 <= RESIDENT_MB, f"{resident / 1e6:.1f} MB"
