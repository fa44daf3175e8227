"""What stands in for training: nothing, the time it would take, or the real thing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from propius import wire
from propius.agent.events import Failed, Finished
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.spool import file_digest
from propius.agent.trainer import LocalWork, TrainingError
from propius.agent.workloads import Workloads
from propius.fleet.clock import Clock
from propius.fleet.population import Phone
from propius.fleet.shelf import Shelf

ComputeName = Literal["real", "sleep", "none"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, and the file of its update if it has one."""

    finished: Finished
    update: Path | None = None
    is_own: bool = False
    """Whether the file is this device's alone, to be deleted after it was sent."""


class Compute(Protocol):
    """Does the work of a virtual device. Cancelling the coroutine stops it."""

    async def run(self, name: str, phone: Phone, assignment: wire.Assignment) -> Outcome:
        """Do it. Raises :class:`TrainingError` and what reading files raises."""
        ...


class Idle:
    """Sends back what it was given, after the time that training takes this phone.

    Parameters
    ----------
    passes
        How often training goes over the phone's examples; 0 takes no time.
    """

    def __init__(self, shelf: Shelf, clock: Clock, *, passes: float) -> None:
        self._shelf = shelf
        self._clock = clock
        self._passes = passes

    async def run(self, name: str, phone: Phone, assignment: wire.Assignment) -> Outcome:
        """See :class:`Compute`."""
        if self._passes:
            await self._clock.sleep(self._passes * phone.examples * phone.speed_ms / 1000)
        weight = float(phone.examples)
        if assignment.kind != "train":
            return Outcome(Finished(weight, {"simulated": 1.0}))
        update, digest, size = self._shelf.unchanged(assignment, local_steps=1)
        metrics = {"local_steps": 1.0} if assignment.program else {}
        return Outcome(Finished(weight, metrics, digest, size), self._shelf.path(update))


class Real:
    """Trains in a pool of children; each device on its own share of one data set.

    Parameters
    ----------
    data
        An npz with ``x_train, y_train, x_val, y_val``. A device has as many of its training
        examples as its phone holds, drawn by its seed; all have the whole validation split.
    """

    def __init__(
        self, trainer: PoolTrainer, shelf: Shelf, workloads: Workloads, *, data: Path, seed: int
    ) -> None:
        self._trainer = trainer
        self._shelf = shelf
        self._workloads = workloads
        self._data = data
        self._seed = seed
        self._made = 0

    async def run(self, name: str, phone: Phone, assignment: wire.Assignment) -> Outcome:
        """See :class:`Compute`."""
        one, self._made = assignment, self._made + 1
        dataset = self._shelf.path(f"{self._made}.npz")
        output = self._shelf.path(f"{self._made}.safetensors")
        await asyncio.to_thread(self._share, phone, name, dataset)
        try:
            done = await self._trainer.run(
                LocalWork(
                    assignment=one,
                    parameters=self._shelf.path(one.parameters.digest),
                    program=self._shelf.path(one.program.digest) if one.program else None,
                    dataset=dataset,
                    handler=self._workloads.handler_of(one),
                    output=output,
                    frozen=self._shelf.path(one.frozen.digest) if one.frozen else None,
                ),
                timeout_s=max(1.0, 2 * one.deadline_s),
                progress=lambda _: None,
            )
        except BaseException:
            output.unlink(missing_ok=True)
            raise
        finally:
            dataset.unlink(missing_ok=True)
        if one.kind != "train":
            return Outcome(Finished(done.weight, done.metrics))
        digest, size = await asyncio.to_thread(file_digest, output)
        return Outcome(Finished(done.weight, done.metrics, digest, size), output, is_own=True)

    def _share(self, phone: Phone, name: str, into: Path) -> None:
        import numpy as np

        rng = random.Random(f"{self._seed} {name} data")
        with np.load(self._data, allow_pickle=False) as found:
            count = len(found["y_train"])
            rows = sorted(rng.sample(range(count), min(count, phone.examples)))
            np.savez(
                into,
                x_train=found["x_train"][rows], y_train=found["y_train"][rows],
                x_val=found["x_val"], y_val=found["y_val"],
            )  # fmt: skip


class BadFleet(ValueError):
    """Options that do not go together; the text says which and what to do."""


Working = AbstractAsyncContextManager[Compute]


@asynccontextmanager
async def idle(shelf: Shelf, clock: Clock, *, passes: float = 0.0) -> AsyncIterator[Compute]:
    """Let devices send back what they were given; see :class:`Idle`."""
    yield Idle(shelf, clock, passes=passes)


@asynccontextmanager
async def real(
    shelf: Shelf, workloads: Workloads, *, data: Path | None, handlers: Path | None, seed: int
) -> AsyncIterator[Compute]:
    """Start children that train. Raises :class:`BadFleet`."""
    from propius.training.pool import TrainerPool

    if data is None or not data.is_file():
        raise BadFleet(f"--compute real trains on --data FILE.npz; {data} is no file")
    paths = [str(handlers.resolve().parent)] if handlers else []
    async with TrainerPool(2, 2048, import_paths=paths) as pool:
        yield Real(PoolTrainer(pool), shelf, workloads, data=data, seed=seed)


def failure(error: Exception) -> Failed:
    """Return what ended a piece of work."""
    words = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, TrainingError):
        return Failed(error.code, words)
    return Failed("simulation_failed", words)
