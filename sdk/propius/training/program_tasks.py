"""Program tasks inside the child: the part that needs torch."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from math import inf
from pathlib import Path

import msgspec
import numpy as np
import torch

from propius import arrays
from propius.arrays import Array
from propius.program import container
from propius.program.interpreter import CompiledProgram
from propius.program.schema import Input, Manifest
from propius.training import torch_trainer
from propius.training.config import TrainConfig
from propius.training.data import write_output
from propius.training.tasks import CheckTask, Done, ProgramTask
from propius.training.torch_trainer import TrainingDiverged, TrainResult

PROGRAMS_MAX = 8


class Programs:
    """Compiled programs, by digest of their bytes; the least used go first."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._compiled: OrderedDict[str, CompiledProgram] = OrderedDict()
        self._loads = 0

    def get(self, path: str) -> CompiledProgram:
        """Load and compile a program, or take it from memory."""
        size = Path(path).stat().st_size
        data = Path(path).read_bytes() if size <= container.PROGRAM_BYTES_MAX else b""
        key = hashlib.sha256(data).hexdigest()
        if key not in self._compiled:
            # From the path when it is too large, for the container's own message.
            self._compiled[key] = CompiledProgram(container.load(data or path))
            self._loads += 1
            while len(self._compiled) > PROGRAMS_MAX:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def run(self, task: ProgramTask, data: Mapping[str, Array], began: float) -> Done:
        """Train or evaluate; ``began`` is when the task came, by the monotonic clock."""
        loads = self._loads
        program = self.get(task.program_path)
        frozen = arrays.load(task.frozen_path) if task.frozen_path else {}
        parameters = arrays.load(task.parameters_path) | frozen
        if task.action == "evaluate":
            return _done(torch_trainer.evaluate(program, parameters, data))
        ending = _Ending(task)
        result = torch_trainer.train(
            program,
            parameters,
            data,
            task.config,
            task.seed,
            ending,
            frozen=frozen.keys(),
            correction=arrays.load(task.correction_path) if task.correction_path else None,
        )
        train_s = time.monotonic() - ending.first_at
        write_output(task.output_path, arrays.save(result.parameters))
        return msgspec.structs.replace(
            _done(result),
            start_s=ending.first_at - began,
            train_s=train_s,
            cold=self._loads > loads,
        )

    def check(self, task: CheckTask) -> Done:
        """One step of each graph on random data of the declared shapes, two examples."""
        program = self.get(task.program_path)
        parameters = arrays.load(task.parameters_path)
        data = random_data(program.manifest)
        config = TrainConfig(learning_rate=1e-6, local_steps=1, batch_size=2)
        try:
            torch_trainer.train(program, parameters, data, config, seed=0)
            return _done(torch_trainer.evaluate(program, parameters, data))
        except TrainingDiverged:
            # Random numbers need not make sense to the model; that the ops fit is what counts.
            return Done(examples=2)


def _done(result: TrainResult) -> Done:
    return Done(
        examples=result.examples,
        processed=result.processed,
        metrics=result.metrics,
        steps=result.steps,
        walked=result.walked,
    )


class _Ending:
    """Ends training early, by the plan's steps or its time, and notes when it began."""

    def __init__(self, task: ProgramTask) -> None:
        self._last = inf if task.max_steps is None else task.max_steps
        self._least = task.min_steps
        self._stop_after_s = inf if task.stop_after_s is None else task.stop_after_s
        self.first_at = 0.0

    def __call__(self, steps: int) -> bool:
        now = time.monotonic()
        if not steps:
            self.first_at = now
            return False
        late = now >= self.first_at + self._stop_after_s
        return steps >= self._last or (steps >= self._least and late)


def random_data(manifest: Manifest) -> dict[str, Array]:
    """Arrays of the declared shapes: normal floats, and integers 0 and 1 (valid classes)."""
    rng = np.random.default_rng(0)
    extents = {name: min(max(2, size.min), size.max) for name, size in manifest.sizes.items()}
    return {item.name: _random(item, extents, rng) for item in manifest.inputs}


def _random(item: Input, extents: Mapping[str, int], rng: np.random.Generator) -> Array:
    shape = [extents[e] if isinstance(e, str) else e for e in item.shape]
    dtype = arrays.NUMPY_DTYPES[item.dtype]
    values = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
    return values.astype(dtype)
