"""Runs many agents in one process: ``python -m propius.agent.host fleet.toml``.

The fleet file is TOML or JSON; paths in it are relative to it::

    trainers = 2                  # children that train at the same time
    memory_mb = 1024              # cap of each
    import_paths = ["."]          # where handlers are imported from
    start_over_s = 1.0            # spread the first connections over this time

    [[devices]]
    home = "devices/d000"
    slowdown = 2.0
    programs = true
    attributes = { cpu_score = 3.5, memory_mb = 2048, os = "linux" }

All agents share one pool of trainers. SIGTERM and SIGINT give back what is held and end with
status 0. A device that cannot go on is logged and ends alone; the status is then 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from propius.agent.agent import Agent, AgentOptions
from propius.agent.connection import AgentStopped
from propius.agent.identity import IdentityError
from propius.agent.log_format import configure
from propius.agent.owner_files import OwnerFileError
from propius.agent.pool_trainer import PoolTrainer
from propius.training.pool import TrainerError, TrainerPool
from propius.wire import Scalar

# Named, since this module is the process's __main__.
log = logging.getLogger("propius.agent.host")
Positive = Annotated[int, msgspec.Meta(ge=1)]
Wait = Annotated[float, msgspec.Meta(ge=0)]


class DeviceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device of the fleet; see :class:`AgentOptions`."""

    home: str
    slowdown: Annotated[float, msgspec.Meta(ge=1)] = 1.0
    programs: bool = True
    attributes: dict[str, Scalar] = {}


class Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fleet file."""

    devices: Annotated[list[DeviceEntry], msgspec.Meta(min_length=1)]
    trainers: Positive = 1
    memory_mb: Positive = 1024
    threads: Positive = 1
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 10
    import_paths: list[str] = []
    start_over_s: Wait = 1.0
    backoff_cap_s: Annotated[float, msgspec.Meta(ge=0.5)] = 30.0


def read_fleet(path: Path) -> Fleet:
    """Read a fleet file. Raises :class:`OwnerFileError`, naming the field."""
    try:
        text = path.read_text()
        raw: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return msgspec.convert(raw, Fleet)
    except (OSError, ValueError) as error:
        raise OwnerFileError(f"{path}: {error}") from error


def make_agents(fleet: Fleet, *, base: Path, trainer: PoolTrainer) -> list[Agent]:
    """Return the fleet's agents. Raises as :class:`Agent`."""
    return [
        Agent(
            home=base / entry.home,
            trainer=trainer,
            options=AgentOptions(
                slowdown=entry.slowdown,
                attributes=entry.attributes,
                programs=entry.programs,
                backoff_cap_s=fleet.backoff_cap_s,
            ),
        )
        for entry in fleet.devices
    ]


async def serve(fleet: Fleet, *, base: Path) -> int:
    """Run the fleet until SIGTERM or SIGINT; return the exit status."""
    pool = TrainerPool(
        fleet.trainers,
        fleet.memory_mb,
        nice=fleet.nice,
        threads=fleet.threads,
        import_paths=[str((base / one).resolve()) for one in fleet.import_paths],
    )
    async with pool:
        agents = make_agents(fleet, base=base, trainer=PoolTrainer(pool))
        log.info("host.started devices=%d trainers=%d", len(agents), fleet.trainers)
        warming = asyncio.create_task(_warm(pool, agents))
        status = await run_agents(agents, start_over_s=fleet.start_over_s)
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
    log.info("host.stopped")
    return status


async def run_agents(agents: list[Agent], *, start_over_s: float) -> int:
    """Run agents until a signal stops them or all have ended."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    tasks = [
        asyncio.create_task(_run(agent, after_s=random.uniform(0, start_over_s)))
        for agent in agents
    ]
    ended = asyncio.gather(*tasks)
    ended.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await asyncio.gather(*(agent.stop() for agent in agents))
    return 0 if all(await ended) else 1


async def _run(agent: Agent, *, after_s: float) -> bool:
    await asyncio.sleep(after_s)
    try:
        await agent.run()
    except AgentStopped as error:
        device = agent.device.enrolment.device
        log.error("agent.stopped code=%s %s", error.code, error, extra={"device": device})
        return False
    except Exception:  # one device's fault is not the end of the others
        log.exception("agent.crashed", extra={"device": agent.device.enrolment.device})
        return False
    return True


async def _warm(pool: TrainerPool, agents: list[Agent]) -> None:
    # Only where programs will run: a fleet of handlers never loads torch.
    if any(agent.device.workloads.programs for agent in agents):
        try:
            await pool.warm()
        except TrainerError as error:
            log.warning("host.warm_failed %s", error)


def main(arguments: list[str] | None = None) -> int:
    """Run the fleet named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m propius.agent.host", description=__doc__)
    parser.add_argument("fleet", type=Path, help="fleet file, TOML or JSON")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING"])
    options = parser.parse_args(arguments)
    configure(options.log_level)
    try:
        fleet = read_fleet(options.fleet)
        return asyncio.run(serve(fleet, base=options.fleet.resolve().parent))
    except (OwnerFileError, IdentityError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
