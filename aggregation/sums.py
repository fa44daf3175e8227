"""Weighted sums of updates: the numeric half of folding and closing, without a database.

Every element is added up in the order of the updates, so equal updates give equal bits, however
the work was cut into batches' workers and whenever one of them died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from aggregation.strategies.base import Strategy, Sum
from aggregation.tensor_files import (
    DTYPES,
    MappedTensors,
    header_bytes,
    in_chunks,
    tensor_bytes,
)
from propius.tensors import TensorError, TensorInfo, check_matches

CHUNK_ITEMS = 1 << 17
"""Elements summed at a time: an accumulator of 512 kB stays in the cache over all updates."""

Write = Callable[[memoryview], object]
"""Takes a file's bytes from first to last."""

Metrics = dict[str, tuple[float, float, int]]
"""Name → sum of weight × value, sum of weights, count of reports that have it."""

# Workers are processes. More threads in one would cut tensors at other places, and with them the
# bits of the elements that fall between two vectors.
torch.set_num_threads(1)


class NotFinite(ValueError):
    """A new version would hold infinite or NaN elements: the sum left float32."""


def fold(paths: Sequence[Path], weights: Sequence[float], write: Write) -> None:
    """Write Σ weightᵢ · updateᵢ as a safetensors file.

    Memory is O(chunk), whatever the model's size and the number of updates.

    Parameters
    ----------
    paths
        Updates with equal names and shapes, in the order of their sequence numbers.
    weights
        One for each.
    write
        Takes the file's bytes from first to last.
    """
    with ExitStack() as opened:
        files = [opened.enter_context(MappedTensors(path)) for path in paths]
        header = {name: _summed(info) for name, info in files[0].header.items()}
        for file in files[1:]:
            check_matches(file.header, files[0].header)
        write(memoryview(header_bytes(header)))
        for name, info in header.items():
            _fold_tensor(files, name, weights, info, write)


def close(
    *,
    base: Path,
    partials: Sequence[Path],
    weight: float,
    count: int,
    rules: Mapping[str, str],
    strategy: Strategy,
    state: Path | None,
    write: Write,
) -> dict[str, torch.Tensor]:
    """Write the next version's parameters; returns the strategy's state after the step.

    Tensors by the rule ``server`` keep their bytes; partials are merged in the order given.

    Raises
    ------
    NotFinite
        Naming the tensor.
    """
    with ExitStack() as opened:
        old = opened.enter_context(MappedTensors(base))
        files = [opened.enter_context(MappedTensors(path)) for path in partials]
        kept = opened.enter_context(MappedTensors(state)) if state else None
        _check_partials(files, old.header, rules)
        after: dict[str, torch.Tensor] = {}
        write(memoryview(header_bytes(old.header)))
        for name in old.header:
            tensor = old.tensor(name)
            if rules[name] == "mean":
                total = Sum(_merged([file.tensor(name) for file in files]), weight, count)
                tensor, kept_on = _step(strategy, name, tensor, total, kept)
                after |= kept_on
                for file in files:
                    file.release(name)
            write(tensor_bytes(tensor))
            # No view may outlive its file.
            del tensor
            old.release(name)
        return after


def save(tensors: Mapping[str, torch.Tensor], write: Write) -> None:
    """Write tensors as a safetensors file, in the order of their names."""
    codes = {dtype: code for code, dtype in DTYPES.items()}
    names = sorted(tensors)
    header = {
        name: TensorInfo(codes[tensors[name].dtype], tuple(tensors[name].shape)) for name in names
    }
    write(memoryview(header_bytes(header)))
    for name in names:
        write(tensor_bytes(tensors[name]))


def sum_metrics(reports: Iterable[tuple[float, Mapping[str, float]]]) -> Metrics:
    """Sum the scalars of reports, each ``(weight, metrics)``."""
    sums: Metrics = {}
    for weight, metrics in reports:
        for name, value in metrics.items():
            total, weights, count = sums.get(name, (0.0, 0.0, 0))
            sums[name] = (total + weight * value, weights + weight, count + 1)
    return sums


def merge_metrics(parts: Iterable[Metrics]) -> Metrics:
    """Add sums of scalars."""
    sums: Metrics = {}
    for part in parts:
        for name, (total, weights, count) in part.items():
            before = sums.get(name, (0.0, 0.0, 0))
            sums[name] = (before[0] + total, before[1] + weights, before[2] + count)
    return sums


def means(sums: Metrics, *, cohort: int) -> dict[str, float]:
    """Return weighted means of the scalars that at least ``cohort`` reports have."""
    return {
        name: total / weights
        for name, (total, weights, count) in sorted(sums.items())
        if count >= cohort
    }


def _fold_tensor(
    files: Sequence[MappedTensors],
    name: str,
    weights: Sequence[float],
    info: TensorInfo,
    write: Write,
) -> None:
    flat = [file.tensor(name).reshape(-1) for file in files]
    total = torch.empty(min(CHUNK_ITEMS, flat[0].numel()), dtype=DTYPES[info.dtype])
    # float16 through one buffer: add_ on mixed dtypes would allocate for every chunk.
    wide = None if flat[0].dtype == total.dtype else torch.empty_like(total)
    for part in in_chunks(flat[0].numel(), CHUNK_ITEMS):
        size = part.stop - part.start
        into = total[:size].zero_()
        for file, tensor, weight in zip(files, flat, weights, strict=True):
            added = tensor[part] if wide is None else wide[:size].copy_(tensor[part])
            into.add_(added, alpha=weight)
            # Else every update's pages would stay until the end of the tensor.
            file.release(name, part)
        write(tensor_bytes(into))


def _summed(info: TensorInfo) -> TensorInfo:
    return TensorInfo("F64" if info.dtype == "F64" else "F32", info.shape)


def _merged(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total.add_(part)
    return total


def _step(
    strategy: Strategy,
    name: str,
    base: torch.Tensor,
    summed: Sum,
    kept: MappedTensors | None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    tensor, state = strategy.step(name, base, summed, _state_of(kept, name))
    _check_finite(name, tensor)
    # Cloned: what a strategy hands back may be a view of a mapped file.
    return tensor, {f"{name}/{key}": value.clone() for key, value in state.items()}


def _state_of(kept: MappedTensors | None, name: str) -> dict[str, torch.Tensor]:
    if kept is None:
        return {}
    start = f"{name}/"
    return {key[len(start) :]: kept.tensor(key) for key in kept.header if key.startswith(start)}


def _check_partials(
    files: Sequence[MappedTensors], base: Mapping[str, TensorInfo], rules: Mapping[str, str]
) -> None:
    wanted = {name: info.shape for name, info in base.items() if rules[name] == "mean"}
    for file in files:
        found = {name: info.shape for name, info in file.header.items()}
        if found != wanted:
            raise TensorError("tensor_mismatch", "tensors", "a partial does not fit the model")


def _check_finite(name: str, tensor: torch.Tensor) -> None:
    # The sum of finite numbers is infinite or not a number if any element is; one pass, no mask.
    if not torch.isfinite(tensor.sum(dtype=torch.float64)):
        raise NotFinite(f"tensor {name!r} of the new version would not be finite")
