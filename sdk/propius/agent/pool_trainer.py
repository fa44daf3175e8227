"""Runs local work in a pool of capped children, and encodes the update for its way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.training.config import TrainConfig
from propius.training.pool import TrainerError, TrainerPool
from propius.training.tasks import HandlerTask, ProgramTask


class PoolTrainer:
    """The trainer of real devices; agents of one process share its pool."""

    def __init__(self, pool: TrainerPool) -> None:
        self._pool = pool

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        """See :class:`propius.agent.trainer.Trainer`; children tell no progress."""
        raw = work.output.with_suffix(".raw")
        try:
            done = await self._pool.run(_task(work, str(raw)), timeout_s)
            if work.assignment.kind == "train":
                await asyncio.to_thread(_encode, work, str(raw))
        except TrainerError as error:
            raise TrainingError(error.code, str(error)) from error
        except (msgspec.ValidationError, ValueError, OSError) as error:
            code = getattr(error, "code", "bad_assignment")
            raise TrainingError(str(code), str(error)) from error
        finally:
            raw.unlink(missing_ok=True)
        return LocalOutcome(float(max(1, done.examples)), dict(done.metrics), done.seconds)


def _task(work: LocalWork, output: str) -> ProgramTask | HandlerTask:
    one = work.assignment
    train = one.kind == "train"
    common: dict[str, Any] = {
        "action": "train" if train else "evaluate",
        "parameters_path": str(work.parameters),
        "data_path": str(work.dataset),
        "split": "train" if train else "val",
        "output_path": output if train else None,
    }
    if one.workload.get("kind") == "program":
        config = msgspec.convert(one.workload.get("train", {}), TrainConfig)
        return ProgramTask(program_path=str(work.program), config=config, seed=one.seed, **common)
    settings = {"seed": one.seed, **one.workload.get("config", {})}
    return HandlerTask(handler=str(work.handler), config=settings, **common)


def _encode(work: LocalWork, raw: str) -> None:
    """Write the update: the tensors that are averaged, as the assignment's codec has them."""
    # Here, not above: an idle agent carries no numpy.
    from propius import arrays, codec
    from propius.program import container

    tensors = arrays.load(raw)
    if work.program is not None:
        rules = container.load(work.program).rules()
        tensors = {name: array for name, array in tensors.items() if rules.get(name) == "mean"}
    else:
        tensors = {name: array for name, array in tensors.items() if array.dtype.kind == "f"}
    content = arrays.save(codec.encode(tensors, codec=work.assignment.codec))
    if len(content) > work.assignment.max_update_bytes:
        raise TrainingError(
            "update_too_large",
            f"the update has {len(content)} bytes; at most {work.assignment.max_update_bytes}",
        )
    work.output.write_bytes(content)
