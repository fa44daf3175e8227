"""How far each update moves the model, by the heads of its tensors: a small part of the bytes.

What is measured is told apart, never summed: folding gives the same bits with or without it.
Importing this imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import sqrt
from pathlib import Path

import torch

from aggregation.decoding import Encoding, mapped, rows, slices, wide
from aggregation.recipe import Report
from aggregation.tensor_files import DTYPES, MappedTensors

HEAD_ITEMS = 1 << 16
"""Elements looked at from the beginning of each tensor: 256 kB of a float32 one."""


def norms(reports: Sequence[Report], encoding: Encoding) -> list[float]:
    """Return ‖update - base‖₂ of each, over at most ``HEAD_ITEMS`` elements of each tensor.

    The elements are the model's, so updates in different codecs compare. Control variates, which
    are not the model, are left out. Raises TensorError.
    """
    return [_norm(one.path, one.base or encoding.base, encoding) for one in reports]


def _norm(update: Path, base: Path, encoding: Encoding) -> float:
    with mapped([update], encoding) as files, MappedTensors(base) as start:
        names = [name for name in encoding.tensors if name in start.header]
        return sqrt(sum(_square(files, start, name, encoding) for name in names))


def _square(
    files: Sequence[MappedTensors], start: MappedTensors, name: str, encoding: Encoding
) -> float:
    info = wide(encoding.tensors[name])
    total = 0.0
    for part in islice(slices(info, HEAD_ITEMS), 1):
        change = torch.zeros(part.stop - part.start, dtype=DTYPES[info.dtype])
        for row in rows(files, name, encoding):
            row.add(part, change, 1.0)
        if not encoding.is_difference:
            change.sub_(start.tensor(name).reshape(-1)[part])
            start.release(name, part)
        # In float64: no square of a float32 overflows it.
        exact = change.double()
        total = float(exact.dot(exact))
    return total
