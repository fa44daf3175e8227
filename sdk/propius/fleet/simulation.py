"""Runs a fleet of virtual devices until its time is over."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from propius import __version__
from propius.agent import workloads
from propius.agent.introduction import Introduction
from propius.agent.workloads import WITH_CONTROL, Workloads
from propius.fleet import compute, journal, population
from propius.fleet.availability import TRACES, Trace, TraceName
from propius.fleet.clock import Clock
from propius.fleet.compute import BadFleet, ComputeName
from propius.fleet.enrolling import Enroller, default_file, key_of
from propius.fleet.record import Record
from propius.fleet.shelf import Shelf
from propius.fleet.virtual import VirtualDevice, World

SPARE_FILES = 200
LINE_EVERY_S = 5.0
STOP_S = 15.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What ``propius fleet simulate`` takes; times are seconds.

    Parameters
    ----------
    devices, seed
        How many, and where keys, phones and days come from: the same again for the same seed.
    trace
        ``always`` or ``diurnal``.
    compute, passes
        ``none`` answers at once, ``sleep`` takes as long as ``passes`` over the phone's examples
        would, ``real`` trains.
    speed_up
        How much faster days, training and links go by; the platform's own times stay as they are.
    start_s
        When the simulated day begins, after midnight.
    seconds
        How long to run, 0 for ever.
    per_s
        How many devices at most come in a second at the start.
    dropout
        Chance that a device vanishes in the midst of an assignment.
    data, handlers
        For ``real``: an npz to share out, and a ``handlers.toml``.
    handler_names
        For ``sleep`` and ``none``: handlers that the devices say they have.
    journal
        A file to note each assignment in that was done; see :mod:`propius.fleet.journal`.
    """

    url: str
    token: str
    devices: int
    seed: int = 0
    trace: TraceName = "always"
    compute: ComputeName = "none"
    passes: float = 1.0
    speed_up: float = 1.0
    start_s: float = 0.0
    seconds: float = 0.0
    per_s: float = 100.0
    dropout: float = 0.0
    data: Path | None = None
    handlers: Path | None = None
    handler_names: tuple[str, ...] = ()
    kept: Path | None = None
    journal: Path | None = None

    def shown(self) -> dict[str, Any]:
        """Return them for the report, without the token."""
        found = {name: value for name, value in asdict(self).items() if name != "token"}
        return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


async def run(
    options: Options,
    *,
    say: Say,
    stopping: asyncio.Event,
    trace: Trace | None = None,
    record: Record | None = None,
) -> dict[str, Any]:
    """Run the fleet until ``stopping`` or its time is over; return the report.

    ``trace`` and ``record`` are for those who bring their own.

    Raises
    ------
    BadFleet
        Options that do not go together, or a limit of this machine.
    ApiError
        The platform cannot be reached, or does not take the token.
    """
    _make_room(options.devices)
    record = record or Record(options.devices)
    clock = Clock(options.speed_up, start_s=options.start_s)
    file = options.kept or default_file(options.url, options.token, options.seed)
    enroller = Enroller(options.url, options.token, seed=options.seed, file=file, told=say)
    lives: set[asyncio.Task[None]] = set()
    with (
        tempfile.TemporaryDirectory(prefix="propius-fleet-") as folder,
        journal.kept(
            options.journal, seed=options.seed, compute=options.compute, data=options.data,
            handlers=options.handlers,
        ) as keeper,
    ):  # fmt: skip
        shelf = Shelf(Path(folder))
        offered = _workloads(options)
        async with _compute(options, shelf, clock, offered) as work:

            def world() -> World:
                return World(
                    gateway=enroller.known.gateway, clock=clock, compute=work, record=record,
                    shelf=shelf, trace=trace or TRACES[options.trace], journal=keeper,
                    dropout=options.dropout,
                )  # fmt: skip

            filling = asyncio.create_task(_fill(options, enroller, offered, world, lives))
            try:
                await _watched(options, record, filling, say=say, stopping=stopping)
            finally:
                await _end({filling, *lives})
    say(record.line())
    return record.report(options.shown())


async def _fill(
    options: Options,
    enroller: Enroller,
    offered: Workloads,
    world: Callable[[], World],
    lives: set[asyncio.Task[None]],
) -> None:
    """Bring the devices to life as they join, a few at a time."""
    made: World | None = None
    began = time.monotonic()
    async for number in enroller.devices(options.devices):
        made = made or world()
        lives.add(asyncio.create_task(_device(number, options, enroller, offered, made).live()))
        early_s = began + len(lives) / options.per_s - time.monotonic()
        await asyncio.sleep(max(0.0, early_s))


def _device(
    number: int, options: Options, enroller: Enroller, offered: Workloads, world: World
) -> VirtualDevice:
    rng = population.chance(options.seed, number)
    phone = population.draw(rng)
    told = {one.name for one in enroller.known.attributes_schema}
    introduction = Introduction(
        device=enroller.known.devices[number],
        sdk=f"propius-python/{__version__} fleet",
        attributes={name: value for name, value in phone.attributes().items() if name in told},
        workloads=_without_memory(offered.offered()),
        sign=key_of(options.seed, number).sign,
    )
    return VirtualDevice(number, phone, introduction, world, rng)


def _without_memory(offered: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out what needs a device to remember its last round."""
    return {
        kind: [name for name in names if (kind, name) != ("program", WITH_CONTROL)]
        for kind, names in offered.items()
    }


async def _watched(
    options: Options,
    record: Record,
    filling: asyncio.Task[None],
    *,
    say: Say,
    stopping: asyncio.Event,
) -> None:
    """Say how it goes until it is over. Raises what ended the filling."""

    def filled(one: asyncio.Task[None]) -> None:
        if not one.cancelled() and one.exception() is not None:
            stopping.set()

    filling.add_done_callback(filled)
    until = time.monotonic() + (options.seconds or float("inf"))
    while not stopping.is_set() and (left_s := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(LINE_EVERY_S, left_s)):
                await stopping.wait()
        except TimeoutError:
            say(record.line())
    if filling.done() and not filling.cancelled():
        filling.result()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=STOP_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # seen: what matters was raised where it happened


def _workloads(options: Options) -> Workloads:
    if options.handlers is not None:
        return workloads.load(options.handlers)
    if options.compute == "real":
        return Workloads({}, programs=workloads.torch_is_installed())
    # They say what they are asked to: nothing is run.
    handlers = {name: workloads.Handler(train="none:none") for name in options.handler_names}
    return Workloads(handlers, programs=True)


def _compute(options: Options, shelf: Shelf, clock: Clock, offered: Workloads) -> compute.Working:
    if options.compute == "real":
        return compute.real(
            shelf, offered, data=options.data, handlers=options.handlers, seed=options.seed
        )
    return compute.idle(shelf, clock, passes=options.passes if options.compute == "sleep" else 0.0)


def _make_room(devices: int) -> None:
    """Let this process open a socket for each device. Raises :class:`BadFleet`."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = devices + SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise BadFleet(
            f"{devices} devices need {wanted} open files; this machine allows {hard} "
            f"(ulimit -Hn): at most {hard - SPARE_FILES} devices"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


__all__ = ["BadFleet", "Options", "run"]
