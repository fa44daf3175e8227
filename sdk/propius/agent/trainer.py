"""The seam between the agent and whatever does the work: a pool of children, or a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from propius import wire
from propius.adaptive import Plan
from propius.training.brake import Brake


@dataclass(frozen=True, slots=True)
class LocalWork:
    """Everything that one assignment needs, on disk and checked.

    Parameters
    ----------
    assignment
        As the gateway sent it; its ``workload`` is the job's workload section.
    parameters, program, frozen, control
        Downloaded files, their digests verified; ``program`` is ``None`` for a handler, ``frozen``
        if the model is whole without it, ``control`` if the server has no control variate (yet).
    dataset
        The device's npz with ``x_train, y_train, x_val, y_val``.
    handler
        Import reference ``module:function`` of the owner's handler, ``None`` for a program.
    output
        Where to write the update: one safetensors file in the assignment's codec.
    memory
        What this device remembers of the job; may not exist yet.
    remembered
        Where to write what it shall remember once this update is accepted.
    plan
        How much to do, if the job lets devices adapt.
    brake
        Pressed while the owner's conditions do not hold: a trainer with a process hands it over.
    """

    assignment: wire.Assignment
    parameters: Path
    program: Path | None
    dataset: Path
    handler: str | None
    output: Path
    memory: Path | None = None
    remembered: Path | None = None
    frozen: Path | None = None
    control: Path | None = None
    plan: Plan | None = None
    brake: Brake = field(default_factory=Brake)


@dataclass(frozen=True, slots=True)
class LocalOutcome:
    """What the work gave; the update, if any, is in :attr:`LocalWork.output`.

    ``seconds`` is how long the work itself took, without waiting for a turn; ``processed`` and
    ``train_s`` are the examples and the seconds of its steps, 0 if they were not counted. ``cold``
    says that what the work needs was loaded first, which the next such work need not wait for.
    """

    weight: float
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    processed: int = 0
    train_s: float = 0.0
    cold: bool = False


class TrainingError(Exception):
    """Work that failed; ``code`` is stable and goes to the platform with the message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Trainer(Protocol):
    """Runs local work. Cancelling the coroutine must stop the work."""

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        """Do the work; call ``progress`` with a fraction now and then, if it can tell.

        Raises
        ------
        TrainingError
            The work failed, timed out or ran into a cap.
        """
        ...
