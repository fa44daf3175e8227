"""Weighted sums of updates: the numeric half of folding and closing, without a database.

Every element is added up in the order of the updates, so equal updates give equal bits, however
the work was cut into batches' workers and whenever one of them died.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from aggregation.decoding import CHUNK_ITEMS, Encoding, opened, rows, slices, wide
from aggregation.scalars import Metrics as Metrics
from aggregation.scalars import means as means
from aggregation.scalars import merge_metrics as merge_metrics
from aggregation.scalars import sum_metrics as sum_metrics
from aggregation.strategies.base import Sum, WeightedSum
from aggregation.tensor_files import DTYPES, MappedTensors, header_bytes, tensor_bytes
from propius.tensors import TensorError, TensorInfo, check_matches

Write = Callable[[memoryview], object]
"""Takes a file's bytes from first to last."""

Settle = Callable[[torch.Tensor, torch.Tensor], None]
"""Takes a tensor of the merged partials and the base's; changes the first in place."""

# Workers are processes. More threads in one would cut tensors at other places, and with them the
# bits of the elements that fall between two vectors.
torch.set_num_threads(1)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a round's partials hold beside their tensors; see ``strategies.Sum``."""

    weight: float
    count: int
    examples: float = 0.0
    steps: float = 1.0

    def of(self, total: torch.Tensor, groups: Mapping[str, torch.Tensor]) -> Sum:
        """Return one tensor's sum, and those of its further groups."""
        return Sum(total, self.weight, self.count, self.examples, self.steps, groups)


class NotFinite(ValueError):
    """A new version would hold infinite or NaN elements: the sum left float32."""


def fold(paths: Sequence[Path], weights: Sequence[float], encoding: Encoding, write: Write) -> None:
    """Write Σ weightᵢ · updateᵢ as a safetensors file.

    Memory is O(chunk), whatever the model's size and the number of updates.

    Parameters
    ----------
    paths
        Updates, in the order of their sequence numbers.
    weights
        One for each.
    encoding
        How they are written.
    write
        Takes the file's bytes from first to last.
    """
    write(memoryview(header_bytes({name: wide(one) for name, one in encoding.tensors.items()})))
    with opened(paths, encoding) as files, ExitStack() as stack:
        base = None
        if encoding.is_difference:
            base = stack.enter_context(MappedTensors(encoding.base))
        for name in encoding.tensors:
            _fold_tensor(files, base, name, weights, encoding, write)
            if base is not None:
                base.release(name)
        if base is not None:
            base.check_rest()


def merge(partials: Sequence[Path], write: Write) -> None:
    """Write the sum of partials as one, added up in the order given. Memory is O(largest tensor).

    Raises TensorError if they are not of the same tensors.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(MappedTensors(path)) for path in partials]
        header = files[0].header
        for file in files[1:]:
            check_matches(file.header, header)
        write(memoryview(header_bytes(header)))
        for name in header:
            write(tensor_bytes(_merged(files, name)))
        for file in files:
            file.check_rest()


def close(
    *,
    base: Path,
    partials: Sequence[Path],
    merged: Merged,
    rules: Mapping[str, str],
    strategy: WeightedSum,
    state: Path | None,
    write: Write,
    write_state: Write,
    settle: Settle | None = None,
    carried: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write the next version's parameters, and the state if there is any.

    Tensors by another rule than ``mean`` keep their bytes; partials are merged in the order given.
    Memory is O(largest tensor). ``settle`` makes the weighted sum, in place, of what the partials
    hold where that is something else; ``carried`` are scalars that the state file keeps beside the
    strategy's tensors.

    Raises
    ------
    NotFinite
        Naming the tensor.
    """
    with ExitStack() as stack:
        old = stack.enter_context(MappedTensors(base))
        files = [stack.enter_context(MappedTensors(path)) for path in partials]
        kept = stack.enter_context(MappedTensors(state)) if state else None
        _check_partials(files, old.header, rules, strategy.groups)
        write(memoryview(header_bytes(old.header)))
        _begin_state(strategy, old.header, rules, carried or {}, write_state)
        for name in old.header:
            tensor = old.tensor(name)
            if rules[name] == "mean":
                total, *others = (
                    _merged(files, one) for one in (name, *_grouped(name, strategy.groups))
                )
                if settle is not None:
                    settle(total, tensor)
                groups = dict(zip(strategy.groups, others, strict=True))
                summed = merged.of(total, groups)
                tensor = _stepped(strategy, name, tensor, summed, kept, write_state)
                del total, others, groups, summed
            write(tensor_bytes(tensor))
            # No view may outlive its file.
            del tensor
            old.release(name)
        for file in (old, *files, *([kept] if kept else [])):
            file.check_rest()


def _stepped(
    strategy: WeightedSum,
    name: str,
    base: torch.Tensor,
    summed: Sum,
    kept: MappedTensors | None,
    write_state: Write,
) -> torch.Tensor:
    """Return one tensor of the next version, its state written."""
    before = {key: kept.tensor(f"{name}/{key}") for key in strategy.keeps} if kept else {}
    dtype = summed.total.dtype
    new, after = strategy.step(name, base, summed, before)
    check_finite(name, new)
    for key in strategy.keeps:
        check_finite(f"{name}/{key}", after[key])
        write_state(tensor_bytes(after[key].to(dtype)))
        if kept is not None:
            kept.release(f"{name}/{key}")
    return new


def _fold_tensor(
    files: Sequence[MappedTensors],
    base: MappedTensors | None,
    name: str,
    weights: Sequence[float],
    encoding: Encoding,
    write: Write,
) -> None:
    info = wide(encoding.tensors[name])
    updates = rows(files, name, encoding)
    start = None if base is None else base.tensor(name).reshape(-1)
    total = torch.empty(min(CHUNK_ITEMS, prod(info.shape)), dtype=DTYPES[info.dtype])
    for part in slices(info):
        into = total[: part.stop - part.start].zero_()
        for update, weight in zip(updates, weights, strict=True):
            update.add(part, into, weight)
        if start is not None:
            # Σ wᵢ·(base + dᵢ) = Σ wᵢ·dᵢ + base · Σ wᵢ
            into.add_(start[part], alpha=sum(weights))
        write(tensor_bytes(into))


def _merged(files: Sequence[MappedTensors], name: str) -> torch.Tensor:
    """Add up one tensor of all partials, each let go of before the next is read."""
    total = files[0].tensor(name).clone()
    files[0].release(name)
    for file in files[1:]:
        total.add_(file.tensor(name))
        file.release(name)
    return total


def _begin_state(
    strategy: WeightedSum,
    base: Mapping[str, TensorInfo],
    rules: Mapping[str, str],
    carried: Mapping[str, torch.Tensor],
    write: Write,
) -> None:
    if not strategy.keeps and not carried:
        return
    header = {name: TensorInfo("F32", tuple(one.shape)) for name, one in carried.items()}
    for name, info in base.items():
        if rules[name] == "mean":
            header |= {f"{name}/{key}": wide(info) for key in strategy.keeps}
    write(memoryview(header_bytes(header)))
    for one in carried.values():
        write(tensor_bytes(one.float()))


def _grouped(name: str, groups: Sequence[str]) -> list[str]:
    return [f"{group}.{name}" for group in groups]


def _check_partials(
    files: Sequence[MappedTensors],
    base: Mapping[str, TensorInfo],
    rules: Mapping[str, str],
    groups: Sequence[str],
) -> None:
    wanted = {name: info.shape for name, info in base.items() if rules[name] == "mean"}
    wanted |= {one: shape for name, shape in wanted.items() for one in _grouped(name, groups)}
    for file in files:
        found = {name: info.shape for name, info in file.header.items()}
        if found != wanted:
            raise TensorError("tensor_mismatch", "tensors", "a partial does not fit the model")


def check_finite(name: str, tensor: torch.Tensor) -> None:
    """Raise NotFinite if an element of a new version is infinite or NaN."""
    # The sum of finite numbers is infinite or not a number if any element is; one pass, no mask.
    if not torch.isfinite(tensor.sum(dtype=torch.float64)):
        raise NotFinite(f"tensor {name!r} of the new version would not be finite")
