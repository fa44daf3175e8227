"""Make the next version from every update at once, for the strategies that need all of them.

The updates stay as they came, mapped; memory is O(updates × slice), whatever the model's size.
Importing this imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from aggregation.decoding import CHUNK_ITEMS, Encoding, Row, opened, rows, slices, wide
from aggregation.strategies.base import AllUpdates
from aggregation.sums import Write, check_finite
from aggregation.tensor_files import DTYPES, MappedTensors, header_bytes, tensor_bytes


def close(
    *,
    updates: Sequence[Path],
    encoding: Encoding,
    rules: Mapping[str, str],
    strategy: AllUpdates,
    write: Write,
) -> None:
    """Write the next version's parameters.

    Parameters
    ----------
    updates
        In the order of their sequence numbers.
    encoding
        How they are written; its base is the version before.
    rules
        Of each tensor; those by another rule than ``mean`` keep their bytes.

    Raises
    ------
    StrategyError
        With too few updates for the strategy.
    NotFinite
        Naming the tensor.
    """
    with opened(updates, encoding) as files, MappedTensors(encoding.base) as base:
        chosen = strategy.choose(_differences(files, base, encoding))
        if chosen is not None:
            files = [files[index] for index in chosen.tolist()]
        write(memoryview(header_bytes(base.header)))
        for name in base.header:
            if rules[name] == "mean":
                _combine(files, base, name, encoding, strategy, write)
            else:
                write(tensor_bytes(base.tensor(name)))
            base.release(name)
        base.check_rest()


def _combine(
    files: Sequence[MappedTensors],
    base: MappedTensors,
    name: str,
    encoding: Encoding,
    strategy: AllUpdates,
    write: Write,
) -> None:
    dtype = DTYPES[base.header[name].dtype]
    for stack, start in _stacks(files, base, name, encoding):
        if encoding.is_difference:
            stack.add_(start)
        new = strategy.combine(stack).to(dtype)
        check_finite(name, new)
        write(tensor_bytes(new))


def _differences(
    files: Sequence[MappedTensors], base: MappedTensors, encoding: Encoding
) -> Iterator[torch.Tensor]:
    for name in encoding.tensors:
        for stack, start in _stacks(files, base, name, encoding):
            yield stack if encoding.is_difference else stack.sub_(start)


def _stacks(
    files: Sequence[MappedTensors], base: MappedTensors, name: str, encoding: Encoding
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give slices of all updates, shape (updates, elements), beside the base's."""
    info = wide(encoding.tensors[name])
    updates: list[Row] = rows(files, name, encoding)
    start = base.tensor(name).reshape(-1)
    limit = max(1024, 8 * CHUNK_ITEMS // max(1, len(files)))
    for part in slices(info, min(limit, CHUNK_ITEMS)):
        stack = torch.zeros(len(updates), part.stop - part.start, dtype=DTYPES[info.dtype])
        for into, update in zip(stack, updates, strict=True):
            update.add(part, into, 1.0)
        yield stack, start[part].to(stack.dtype)
