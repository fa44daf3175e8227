"""The plain loop: an existing training script takes part, without handlers and without a child.

::

    propius.init(home="device", handler="my-model")
    while task := propius.receive():
        parameters = train(task.parameters, task.data)
        propius.send(parameters, examples=len(task.data["y"]), metrics={"loss": 0.3})

The agent's session runs on a thread of its own and keeps the connection; consent, conditions and
data sets are those of the device's folder.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from propius import arrays, tensors
from propius.agent import identity, updates
from propius.agent.agent import Agent, AgentOptions
from propius.agent.meter import SystemMeter
from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.agent.workloads import Handler
from propius.arrays import Array
from propius.training import data as data_sets

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Task:
    """One assignment, as a script sees it.

    ``kind`` is ``train``, ``evaluate`` or ``query``; ``config`` is the job's, ``data`` the data
    set's arrays of the split that this kind uses.
    """

    kind: str
    job: str
    number: int
    parameters: dict[str, Array]
    data: dict[str, Array]
    config: dict[str, Any]
    seed: int


class LoopError(RuntimeError):
    """The loop is used in another order than it can be; the text says which is right."""


@dataclass(slots=True)
class _Handed:
    work: LocalWork
    answer: asyncio.Future[LocalOutcome]


class Loop:
    """One device whose work is done by the code that calls :meth:`receive` and :meth:`send`.

    Parameters
    ----------
    home
        The device's folder; the default one if not given.
    handler
        The name by which jobs ask for this script.
    options
        Of the agent.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        handler: str = "plain",
        options: AgentOptions | None = None,
    ) -> None:
        folder = (Path(home) if home is not None else identity.default_home()).expanduser()
        here = "propius.plain:receive"
        kinds = Handler(train=here, evaluate=here, query=here)
        given = options or AgentOptions(meter=SystemMeter(folder))
        given = replace(given, handlers={handler: kinds})
        self._agent = Agent(home=folder, trainer=self, options=given)
        self._handed: queue.Queue[_Handed] = queue.Queue()
        self._now: tuple[_Handed, Task] | None = None
        self._loop = asyncio.new_event_loop()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="propius-agent", daemon=True)
        self._thread.start()

    def receive(self, timeout_s: float | None = None) -> Task | None:
        """Wait for the next task; ``None`` after ``timeout_s``, or when the loop is closed.

        A task that was received and never sent fails.

        Raises
        ------
        AgentStopped
            Only a person can mend what is wrong; the text says how.
        TensorError, OSError, ValueError
            The model or the data cannot be read; the task has failed.
        """
        if self._now is not None:
            self.fail("the script asked for the next task and had not sent this one")
        waited = 0.0
        while self._thread.is_alive() and (timeout_s is None or waited < timeout_s):
            wait_s = POLL_S if timeout_s is None else min(POLL_S, timeout_s - waited)
            waited += wait_s
            try:
                handed = self._handed.get(timeout=wait_s)
            except queue.Empty:
                continue
            if handed.answer.done():  # cancelled while it waited
                continue
            self._now = handed, self._read(handed)
            return self._now[1]
        if self._error is not None:
            raise self._error
        return None

    def send(
        self,
        parameters: Mapping[str, Array] | None = None,
        *,
        examples: int,
        metrics: Mapping[str, float] | None = None,
    ) -> bool:
        """Send the result of the task; returns whether the platform still wants it.

        Parameters
        ----------
        parameters
            All of the model's arrays; none after an evaluation.
        examples
            How many were used: the weight in the mean.
        metrics
            Named finite numbers.

        Raises
        ------
        LoopError
            There is no task to send a result of.
        TensorError
            The arrays are not the model's, or not finite.
        """
        handed, task = self._taken()
        outcome = LocalOutcome(float(max(1, examples)), dict(metrics or {}))
        if task.kind != "evaluate":
            made = {name: np.asarray(one) for name, one in (parameters or {}).items()}
            tensors.check_matches(arrays.describe(made), arrays.describe(task.parameters))
            raw = handed.work.output.with_suffix(".raw")
            arrays.save_file(made, raw)
            try:
                tensors.check_finite(raw)
                updates.write(handed.work, raw)
            finally:
                raw.unlink(missing_ok=True)
        self._now = None
        wanted = not handed.answer.done()
        self._answer(lambda: handed.answer.set_result(outcome), handed)
        return wanted

    def fail(self, message: str) -> None:
        """Give the task back; the message goes to the device's log."""
        handed, _ = self._taken()
        self._now = None
        error = TrainingError("task_failed", message)
        self._answer(lambda: handed.answer.set_exception(error), handed)

    def close(self) -> None:
        """Give back what is held and leave."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._agent.stop(), self._loop)
        self._thread.join()

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        """See :class:`propius.agent.trainer.Trainer`: hand the work to whoever calls receive."""
        handed = _Handed(work, self._loop.create_future())
        self._handed.put(handed)
        try:
            return await asyncio.wait_for(handed.answer, timeout_s)
        except TimeoutError as error:
            text = f"the script took longer than {timeout_s:g} s"
            raise TrainingError("trainer_timeout", text) from error

    def _read(self, handed: _Handed) -> Task:
        try:
            return _task(handed.work)
        except Exception as error:
            # Whatever it is, it is raised again; but the script may go on, and the platform shall
            # not wait for what nobody has in hand.
            failed = TrainingError("bad_assignment", f"{type(error).__name__}: {error}")
            self._answer(lambda: handed.answer.set_exception(failed), handed)
            raise

    def _taken(self) -> tuple[_Handed, Task]:
        if self._now is None:
            raise LoopError("there is no task in hand; call receive() first")
        return self._now

    def _answer(self, set_: Callable[[], None], handed: _Handed) -> None:
        def answer() -> None:
            if not handed.answer.done():
                set_()

        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(answer)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._agent.run())
        except Exception as error:  # noqa: BLE001 (the thread's edge: raised again by receive)
            self._error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


def _task(work: LocalWork) -> Task:
    one = work.assignment
    kind = "query" if one.workload.get("kind") == "query" else one.kind
    begin = work.output.with_suffix(".start")
    parameters = arrays.load(updates.start(work, begin))
    begin.unlink(missing_ok=True)
    split = "val" if kind == "evaluate" else "train"
    return Task(
        kind=kind,
        job=one.job_name,
        number=one.number,
        parameters=parameters,
        data=data_sets.split_of(data_sets.read(work.dataset), split),
        config=dict(one.workload.get("config", {})),
        seed=one.seed,
    )


_loop: list[Loop] = []
"""The script's one loop, for the functions below."""


def init(
    home: str | Path | None = None,
    *,
    handler: str = "plain",
    options: AgentOptions | None = None,
) -> Loop:
    """Start this device's agent; see :class:`Loop`. A script has one."""
    if _loop:
        raise LoopError("init() was called already; close() ends the loop")
    _loop.append(Loop(home, handler=handler, options=options))
    return _loop[0]


def receive(timeout_s: float | None = None) -> Task | None:
    """See :meth:`Loop.receive`."""
    return _started().receive(timeout_s)


def send(
    parameters: Mapping[str, Array] | None = None,
    *,
    examples: int,
    metrics: Mapping[str, float] | None = None,
) -> bool:
    """See :meth:`Loop.send`."""
    return _started().send(parameters, examples=examples, metrics=metrics)


def close() -> None:
    """See :meth:`Loop.close`."""
    _started().close()
    _loop.clear()


def _started() -> Loop:
    if not _loop:
        raise LoopError("call propius.init() first")
    return _loop[0]
