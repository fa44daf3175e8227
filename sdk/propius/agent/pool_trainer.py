"""Runs local work in a pool of capped children, and encodes the update for its way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.training.config import TrainConfig
from propius.training.pool import TrainerError, TrainerPool
from propius.training.tasks import Done, HandlerTask, ProgramTask


class PoolTrainer:
    """The trainer of real devices; agents of one process share its pool."""

    def __init__(self, pool: TrainerPool) -> None:
        self._pool = pool

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        """See :class:`propius.agent.trainer.Trainer`; children tell no progress."""
        raw, start = work.output.with_suffix(".raw"), work.output.with_suffix(".start")
        shift = work.output.with_suffix(".shift")
        try:
            begin = await asyncio.to_thread(_start, work, start)
            correction = await asyncio.to_thread(_correction, work, shift)
            task = _task(work, str(begin), str(raw), correction)
            done = await self._pool.run(task, timeout_s, work.brake)
            if work.assignment.kind == "train":
                await asyncio.to_thread(_write, work, raw, done.walked)
        except TrainerError as error:
            raise TrainingError(error.code, str(error)) from error
        except OSError as error:
            raise TrainingError("disk", f"the device's disk: {error.strerror or error}") from error
        except (msgspec.ValidationError, ValueError) as error:
            code = getattr(error, "code", "bad_assignment")
            raise TrainingError(str(code), str(error)) from error
        finally:
            raw.unlink(missing_ok=True)
            start.unlink(missing_ok=True)
            shift.unlink(missing_ok=True)
        return LocalOutcome(
            _weight(work, done),
            _metrics(work, done),
            done.seconds,
            done.processed,
            done.train_s,
            done.cold,
        )


def _weight(work: LocalWork, done: Done) -> float:
    adaptive = work.assignment.workload.get("adaptive") or {}
    if work.assignment.kind == "train" and adaptive.get("weigh") == "processed":
        return float(max(1, done.processed))
    return float(max(1, done.examples))


def _metrics(work: LocalWork, done: Done) -> dict[str, float]:
    if work.program is None or work.assignment.kind != "train":
        return dict(done.metrics)
    # What FedNova normalises by.
    return {**done.metrics, "local_steps": float(done.steps)}


def _task(
    work: LocalWork, start: str, output: str, correction: Path | None
) -> ProgramTask | HandlerTask:
    one = work.assignment
    train = one.kind == "train"
    common: dict[str, Any] = {
        "action": "train" if train else "evaluate",
        "parameters_path": start,
        "data_path": str(work.dataset),
        "split": "train" if train else "val",
        "output_path": output if train else None,
    }
    if one.workload.get("kind") == "program":
        config = msgspec.convert(one.workload.get("train", {}), TrainConfig).in_round(one.number)
        common["frozen_path"] = str(work.frozen) if work.frozen else None
        common["correction_path"] = str(correction) if correction else None
        if work.plan is not None:
            config = msgspec.structs.replace(config, batch_size=work.plan.batch_size)
            common["max_steps"] = work.plan.max_steps
            common["min_steps"] = work.plan.min_steps
            common["stop_after_s"] = work.plan.stop_after_s
        return ProgramTask(program_path=str(work.program), config=config, seed=one.seed, **common)
    settings = {"seed": one.seed, **one.workload.get("config", {})}
    return HandlerTask(handler=str(work.handler), config=settings, **common)


def _start(work: LocalWork, into: Path) -> Path:
    # Here, not above: an idle agent carries no numpy.
    from propius.agent import updates

    return updates.start(work, into)


def _correction(work: LocalWork, into: Path) -> Path | None:
    from propius.agent import updates

    return updates.write_correction(work, into)


def _write(work: LocalWork, trained: Path, walked: float) -> None:
    from propius.agent import updates

    updates.write(work, trained, walked=walked)
