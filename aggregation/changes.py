"""Weighted sums of changes, for updates that began from several versions.

Importing this imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path

import torch

from aggregation.decoding import CHUNK_ITEMS, Encoding, opened, rows, slices, wide
from aggregation.sums import Write
from aggregation.tensor_files import DTYPES, MappedTensors, header_bytes, tensor_bytes


def fold(
    paths: Sequence[Path],
    bases: Sequence[Path],
    factors: Sequence[float],
    encoding: Encoding,
    write: Write,
) -> None:
    """Write Σ factorᵢ · (updateᵢ − baseᵢ) as a safetensors file.

    Memory is O(chunk), as of :func:`aggregation.sums.fold`.

    Parameters
    ----------
    paths
        Updates, in the order of their sequence numbers.
    bases
        The version that each of them began from.
    factors
        One for each.
    encoding
        How they are written; its own base is not looked at.
    write
        Takes the file's bytes from first to last.
    """
    write(memoryview(header_bytes({name: wide(one) for name, one in encoding.tensors.items()})))
    with opened(paths, encoding) as files, ExitStack() as stack:
        starts: dict[MappedTensors, float] = {}
        if not encoding.is_difference:
            for base in dict.fromkeys(bases):
                file = stack.enter_context(MappedTensors(base))
                starts[file] = sum(
                    factor for factor, one in zip(factors, bases, strict=True) if one == base
                )
        for name in encoding.tensors:
            _fold_tensor(files, starts, name, factors, encoding, write)
            for file in starts:
                file.release(name)
        for file in starts:
            file.check_rest()


def _fold_tensor(
    files: Sequence[MappedTensors],
    starts: Mapping[MappedTensors, float],
    name: str,
    factors: Sequence[float],
    encoding: Encoding,
    write: Write,
) -> None:
    info = wide(encoding.tensors[name])
    updates = rows(files, name, encoding)
    flat = [(file.tensor(name).reshape(-1), factor) for file, factor in starts.items()]
    total = torch.empty(min(CHUNK_ITEMS, prod(info.shape)), dtype=DTYPES[info.dtype])
    for part in slices(info):
        into = total[: part.stop - part.start].zero_()
        for update, factor in zip(updates, factors, strict=True):
            update.add(part, into, factor)
        for start, factor in flat:
            # Σ fᵢ·(xᵢ − b) = Σ fᵢ·xᵢ − b · Σ fᵢ, over the updates that began from b.
            into.add_(start[part], alpha=-factor)
        write(tensor_bytes(into))
