"""Real agents whose training does nothing: ``python -m benchmarks.agents fleet.json``.

The session, transfers, cache and spool are the device's own; only the trainer is a stand-in. Each
update is the parameters with another last number, so that no two updates are one blob.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from propius.agent import host
from propius.agent.agent import Agent, AgentOptions
from propius.agent.log_format import configure
from propius.agent.trainer import LocalOutcome, LocalWork
from propius.wire import Scalar

ATTRIBUTES: dict[str, Scalar] = {"cpu_score": 1.0, "memory_mb": 512, "os": "linux"}


class Folders(msgspec.Struct, frozen=True):
    """The enrolled devices of one process, and how much each may keep of downloads."""

    homes: list[str]
    cache_bytes: int


class NoOp:
    """A trainer that takes no time beyond writing the update."""

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        """See :class:`propius.agent.trainer.Trainer`."""
        await asyncio.to_thread(_write, work)
        return LocalOutcome(1.0, {"loss": 1.0})


def _write(work: LocalWork) -> None:
    shutil.copyfile(work.parameters, work.output)
    number = int.from_bytes(work.assignment.id.encode()[-6:]) % 65_536
    with work.output.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(struct.pack("<f", float(number)))


def main(path: Path) -> int:
    """Run the agents of a file until SIGTERM."""
    configure("WARNING")
    folders = msgspec.json.decode(path.read_bytes(), type=Folders)
    options = AgentOptions(
        attributes=ATTRIBUTES, programs=False, cache_bytes=folders.cache_bytes, backoff_cap_s=2.0
    )
    agents = [Agent(home=Path(one), trainer=NoOp(), options=options) for one in folders.homes]
    gc.freeze()
    return uvloop.run(host.run_agents(agents, start_over_s=0.2))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
