"""The plain loop: an existing training script takes part, without handlers and without a child.

::

    propius.init(home="device", handler="my-model")
    while task := propius.receive():
        parameters = train(task.parameters, task.data)
        propius.send(parameters, examples=len(task.data["y"]), metrics={"loss": 0.3})

The agent's session runs on a thread of its own and keeps the connection; consent, conditions and
data sets are those of the device's folder. While its owner's conditions do not hold, ``receive``
hands out nothing; a script that works for long asks ``propius.may_go_on()`` between batches.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from propius import arrays, plain_task, tensors
from propius.agent import identity, updates
from propius.agent.agent import Agent, AgentOptions
from propius.agent.meter import SystemMeter
from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.agent.workloads import Handler
from propius.arrays import Array
from propius.plain_task import Task as Task

POLL_S = 0.2


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
            handed = self._next(wait_s)
            if handed is not None:
                self._now = handed, self._read(handed)
                return self._now[1]
        if self._error is not None:
            raise self._error
        return None

    def may_go_on(self) -> bool:
        """Wait while the owner's conditions do not hold; return whether the task is still wanted.

        For long work, between batches. It is wanted no more when the platform has cancelled it, or
        when the wait was longer than the owner's ``grace_s``; then drop it and call
        :meth:`receive`.

        Raises
        ------
        LoopError
            There is no task in hand.
        """
        handed, _ = self._taken()
        while handed.work.brake.pressed and self._is_wanted(handed):
            time.sleep(POLL_S)
        return self._is_wanted(handed)

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
        wanted = self._is_wanted(handed)
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

    def _next(self, wait_s: float) -> _Handed | None:
        try:
            handed = self._handed.get(timeout=wait_s)
        except queue.Empty:
            return None
        if handed.work.brake.pressed and self._is_wanted(handed):
            self._handed.put(handed)
            time.sleep(wait_s)
            return None
        return handed if self._is_wanted(handed) else None

    def _is_wanted(self, handed: _Handed) -> bool:
        return self._thread.is_alive() and not handed.answer.done()

    def _read(self, handed: _Handed) -> Task:
        try:
            return plain_task.read(handed.work)
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


def may_go_on() -> bool:
    """See :meth:`Loop.may_go_on`."""
    return _started().may_go_on()


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
