"""A round on files, as workers run it: updates in, the next version and the state out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aggregation import expected, gathering, strategies, sums
from aggregation.decoding import Encoding
from aggregation.tensor_files import DTYPES, MappedTensors, header_bytes, tensor_bytes
from propius.tensors import TensorInfo

Tensors = Mapping[str, torch.Tensor]
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass
class Rounds:
    """A model in a folder and what a strategy has made of it so far."""

    folder: Path
    strategy: strategies.Strategy
    model: Tensors
    rules: Mapping[str, str] = field(default_factory=dict)
    state: Path | None = None
    batch: int = 2

    def run(
        self,
        updates: Sequence[Tensors],
        weights: Sequence[float] | None = None,
        steps: Sequence[float] | None = None,
    ) -> Tensors:
        """Run one round; the next starts from what it returns."""
        examples = list(weights or [1.0] * len(updates))
        taken = list(steps or [1.0] * len(updates))
        self.rules = {name: self.rules.get(name, "mean") for name in self.model}
        base = write(self.folder / "base", self.model)
        info = {name: describe(one) for name, one in self.model.items()}
        mean = {name: one for name, one in info.items() if self.rules[name] == "mean"}
        if getattr(self.strategy, "groups", ()):
            # A test that says nothing of control variates has some all the same.
            wide = expected.controls(mean)
            rest = {name: torch.ones(i.shape, dtype=DTYPES[i.dtype]) for name, i in wide.items()}
            updates = [rest | dict(one) for one in updates]
            mean = mean | wide
        encoding = Encoding("fp32", mean, base)
        sent = [{name: one[name] for name in mean} for one in updates]
        paths = [write(self.folder / f"u{n}", one) for n, one in enumerate(sent)]
        with (self.folder / "new").open("wb") as new:
            if isinstance(self.strategy, strategies.AllUpdates):
                gathering.close(
                    updates=paths, encoding=encoding, rules=self.rules,
                    strategy=self.strategy, write=new.write,
                )  # fmt: skip
            else:
                self._sum(paths, encoding, examples, taken, new.write)
        self.model = read(self.folder / "new")
        return self.model

    def _sum(
        self,
        paths: Sequence[Path],
        encoding: Encoding,
        examples: Sequence[float],
        steps: Sequence[float],
        write_new: sums.Write,
    ) -> None:
        assert isinstance(self.strategy, strategies.WeightedSum)
        given = [self.strategy.fold_weight(*one) for one in zip(examples, steps, strict=True)]
        partials = []
        for start in range(0, len(paths), self.batch):
            part = slice(start, start + self.batch)
            partials.append(self.folder / f"p{start}")
            with partials[-1].open("wb") as file:
                sums.fold(paths[part], given[part], encoding, file.write)
        mean_steps = sum(n * t for n, t in zip(examples, steps, strict=True)) / sum(examples)
        after = self.folder / "after"
        with after.open("wb") as file:
            sums.close(
                base=encoding.base,
                partials=partials,
                merged=sums.Merged(sum(given), len(paths), sum(examples), mean_steps),
                rules=self.rules,
                strategy=self.strategy,
                state=self.state,
                write=write_new,
                write_state=file.write,
            )
        if self.strategy.keeps:
            self.state = after.rename(self.folder / "state")


def describe(tensor: torch.Tensor) -> TensorInfo:
    return TensorInfo(CODES[tensor.dtype], tuple(tensor.shape))


def write(path: Path, tensors: Tensors) -> Path:
    with path.open("wb") as file:
        file.write(header_bytes({name: describe(one) for name, one in tensors.items()}))
        for one in tensors.values():
            file.write(tensor_bytes(one))
    return path


def read(path: Path) -> dict[str, torch.Tensor]:
    with MappedTensors(path) as file:
        return {name: file.tensor(name).clone() for name in file.header}
