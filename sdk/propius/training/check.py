"""Checks a program before any device sees it: in a capped child, with no secrets around it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from propius import tensors
from propius.program import container
from propius.program.errors import ProgramError
from propius.training.pool import TrainerError, TrainerPool
from propius.training.tasks import CheckTask


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a stable code, the field, and words."""

    code: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found. A program is fit when there are no ``errors``."""

    errors: tuple[Fault, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the program may be given to devices."""
        return not self.errors


def check_program(
    path: str | Path, parameters_path: str | Path, memory_mb: int = 1024, timeout_s: float = 60.0
) -> CheckReport:
    """Load a program, match the model to it, and run one train and one eval step on random data.

    Synchronous, for a worker. The bytes are parsed here by checks that run nothing; torch sees
    them only in the child.

    Parameters
    ----------
    path, parameters_path
        The program and the model's safetensors.
    memory_mb, timeout_s
        Caps on the child, start-up of torch included.

    Returns
    -------
    CheckReport
        All faults of the first stage that finds some; never raises for a bad program.
    """
    faults = _static_faults(path, parameters_path)
    if faults:
        return CheckReport(faults)
    task = CheckTask(program_path=str(path), parameters_path=str(parameters_path))
    try:
        return asyncio.run(_run(task, memory_mb, timeout_s))
    except TrainerError as error:
        return CheckReport((Fault(error.code, error.field or "program", str(error)),))


def _static_faults(path: str | Path, parameters_path: str | Path) -> tuple[Fault, ...]:
    try:
        program = container.load(path)
        tensors.check_matches(tensors.read_header(parameters_path), program.expected())
        tensors.check_finite(parameters_path)
    except (ProgramError, tensors.TensorError) as error:
        where = "program" if isinstance(error, ProgramError) else "parameters"
        return (Fault(error.code, f"{where}.{error.field}", str(error)),)
    return ()


async def _run(task: CheckTask, memory_mb: int, timeout_s: float) -> CheckReport:
    async with TrainerPool(1, memory_mb) as pool:
        done = await pool.run(task, timeout_s)
    return CheckReport((), done.metrics, done.seconds)
