"""Many agents in one process, started from a fleet file and stopped by a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from propius import wire
from propius.agent import host
from propius.agent.owner_files import OwnerFileError
from tests.unit.sdk.agent.scripted import Peer, assignment, device_home, gateway, point_to

HANDLER = """
from propius import Result

def train(parameters, config, data):
    return Result(parameters, examples=len(data["y"]), metrics={"loss": 1.0})
"""


async def test_a_fleet_trains_and_ends_cleanly_at_sigterm(tmp_path: Path) -> None:
    from propius import arrays

    arrays.save_file({}, tmp_path / "model")
    model = (tmp_path / "model").read_bytes()
    left: list[wire.Leave] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=model))
        await peer.expect(wire.Accept)
        await peer.serve_blob(model)
        await peer.take_upload()
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)
        both.release()
        left.append(await peer.expect(wire.Leave))

    both = asyncio.Semaphore(0)
    (tmp_path / "m.py").write_text(HANDLER)
    fleet = "import_paths = ['.']\nstart_over_s = 0.1\nmemory_mb = 512\n"
    async with gateway(script, script) as one:
        for number in range(2):
            point_to(device_home(tmp_path / f"d{number}"), one.url)
            fleet += f"[[devices]]\nhome = 'd{number}'\nprograms = false\nslowdown = 2.0\n"
        (tmp_path / "fleet.toml").write_text(fleet)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "propius.agent.host", str(tmp_path / "fleet.toml"),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            for _ in range(2):
                await asyncio.wait_for(both.acquire(), 15)
            process.send_signal(signal.SIGTERM)
            _, log = await asyncio.wait_for(process.communicate(), 10)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, log.decode()
    assert not one.errors
    assert len(left) == 2
    assert b"host.stopped" in log


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("devices = []", "devices"),
        ("[[devices]]\nhome = 'x'\nslowdown = 0.5", "slowdown"),
        ("[[devices]]\nhom = 'x'", "hom"),
        ("[[devices", "fleet.toml"),
    ],
)
def test_a_faulty_fleet_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    with pytest.raises(OwnerFileError, match=words):
        host.read_fleet(path)
