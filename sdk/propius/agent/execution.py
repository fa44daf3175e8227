"""Runs the work of one assignment and keeps its result."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from propius import wire
from propius.adaptive import TOO_SLOW
from propius.agent.cache import BlobCache
from propius.agent.device import Device
from propius.agent.events import Event, Failed, Finished, TrainingFinished, TrainingProgress
from propius.agent.pace import Pace
from propius.agent.spool import Spool
from propius.agent.trainer import LocalWork, Trainer, TrainingError
from propius.training.brake import Brake

log = logging.getLogger(__name__)


TELLING = frozenset(
    {
        "trainer_timeout", "training_diverged", "update_too_large", "out_of_range", TOO_SLOW,
        "bad_program_container", "bad_program_schema", "bad_program_graph", "op_not_allowed",
    }
)  # fmt: skip
"""Failures whose words come from the SDK and speak of the model or the program only."""

WORDS = {
    "out_of_memory": "the work needs more memory than this device gives it",
    "disk": "this device's disk has no room for the work, or cannot be written",
    "trainer_crashed": "the process that did the work ended before it was done",
}
"""What the platform reads where the words themselves could hold more."""


class Execution:
    """At most one piece of work at a time; it outlives connections."""

    def __init__(
        self,
        *,
        trainer: Trainer,
        spool: Spool,
        cache: BlobCache,
        device: Device,
        slowdown: float,
        pace: Pace,
        emit: Callable[[Event], None],
    ) -> None:
        self._trainer = trainer
        self._spool = spool
        self._cache = cache
        self._device = device
        self._slowdown = max(1.0, slowdown)
        self._pace = pace
        self._emit = emit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._brakes: dict[str, Brake] = {}
        self._held = False

    def start(self, assignment: wire.Assignment, *, since_s: float = 0.0) -> None:
        """Begin to work on an assignment that came ``since_s`` ago; its end comes as an event."""
        self._brakes[assignment.id] = brake = Brake()
        if self._held:  # what it needs was here already
            brake.press()
        task = asyncio.create_task(self._run(assignment, since_s))
        self._tasks[assignment.id] = task
        task.add_done_callback(lambda _: self._ended(assignment.id, task))

    def cancel(self, assignment: str) -> None:
        """Stop the work on an assignment, if any."""
        task = self._tasks.get(assignment)
        if task is not None:
            task.cancel()

    def hold(self) -> None:
        """Hold the work still where it stands."""
        self._held = True
        for brake in self._brakes.values():
            brake.press()

    def go_on(self) -> None:
        """Let it go on."""
        self._held = False
        for brake in self._brakes.values():
            brake.release()

    def _ended(self, assignment: str, task: asyncio.Task[None]) -> None:
        # Given again after a broken line, it may have a newer task by now.
        if self._tasks.get(assignment) is task:
            del self._tasks[assignment], self._brakes[assignment]

    async def close(self) -> None:
        """Stop everything and wait for its end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, assignment: wire.Assignment, since_s: float) -> None:
        outcome: Finished | Failed
        try:
            outcome = await self._work(assignment, since_s)
        except TrainingError as error:
            log.warning("training.failed %s: %s", error.code, error, extra=_ids(assignment))
            outcome = Failed(error.code, _public(error))
        except OSError as error:
            outcome = Failed("disk", f"the device's disk: {error.strerror or error}")
        except asyncio.CancelledError:
            self._spool.forget(assignment.id)
            raise
        except Exception as error:
            log.exception("training.crashed", extra=_ids(assignment))
            outcome = Failed("agent_error", f"{type(error).__name__} in the agent")
        self._emit(TrainingFinished(assignment.id, outcome))

    async def _work(self, assignment: wire.Assignment, since_s: float) -> Finished:
        started = time.monotonic()
        work = self._local(assignment)
        work = await self._planned(work, left_s=assignment.deadline_s - since_s)
        done = await self._trainer.run(
            work,
            # An extended round gives its deadline again; the gateway cancels when it is over.
            timeout_s=max(1.0, 2 * assignment.deadline_s),
            progress=lambda part: self._emit(TrainingProgress(assignment.id, part)),
        )
        if not work.brake.was_pressed:  # the owner's pause is no slowness
            self._pace.trained(assignment.workload, done, slowdown=self._slowdown)
        if self._slowdown > 1:
            took = done.seconds or time.monotonic() - started
            await asyncio.sleep(took * (self._slowdown - 1))
        told = self._device.consent.file.examples
        return await asyncio.to_thread(
            self._spool.save,
            assignment,
            weight=told.weight(done.weight),
            metrics=told.metrics(done.metrics, assignment.workload),
        )

    def _local(self, assignment: wire.Assignment) -> LocalWork:
        workload, program = assignment.workload, assignment.program
        control = assignment.control
        return LocalWork(
            assignment=assignment,
            parameters=self._cache.path(assignment.parameters.digest),
            program=self._cache.path(program.digest) if program else None,
            frozen=self._cache.path(assignment.frozen.digest) if assignment.frozen else None,
            control=self._cache.path(control.digest) if control else None,
            dataset=self._device.datasets.path(str(workload["dataset"])),
            handler=self._device.workloads.handler_of(assignment),
            output=self._spool.update(assignment.id),
            memory=self._spool.memory(assignment.job),
            remembered=self._spool.remembered(assignment.id),
            brake=self._brakes[assignment.id],
        )

    async def _planned(self, work: LocalWork, *, left_s: float) -> LocalWork:
        """Fit the work into the time left, if the job allows it."""
        if not work.assignment.workload.get("adaptive"):
            return work
        known = self._device.datasets.private_attributes(str(work.assignment.workload["dataset"]))
        examples = known.get("examples")
        plan = await asyncio.to_thread(
            self._pace.plan,
            work,
            left_s=left_s,
            examples=int(examples) if isinstance(examples, int) else None,
        )
        if plan is None:
            return work
        log.info("training.planned %s", plan, extra=_ids(work.assignment))
        stop_after_s = plan.stop_after_s / self._slowdown
        return replace(work, plan=replace(plan, stop_after_s=stop_after_s))


def _ids(assignment: wire.Assignment) -> dict[str, str]:
    return {"assignment": assignment.id, "job": assignment.job}


def _public(error: TrainingError) -> str:
    """Return what the platform may read: a handler's own words could hold the owner's data."""
    if error.code in TELLING:
        return str(error)
    return WORDS.get(error.code, "the work failed on this device; its log tells its owner why")
