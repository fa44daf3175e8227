"""Read the updates of a round slice by slice, whatever codec they came in.

Importing this imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

import torch

from aggregation.tensor_files import DTYPES, MappedTensors, in_chunks
from propius import codec as codecs
from propius.encodings import INDEX, SCALE, Cast, Int8, channels
from propius.tensors import TensorInfo, check_matches

CHUNK_ITEMS = 1 << 17
"""Elements worked on at a time: an accumulator of 512 kB stays in the cache over all updates."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the updates of a round are written.

    Parameters
    ----------
    codec
        The job's, its name in ``propius.codec``.
    tensors
        The averaged tensors of the model.
    base
        The parameters that the round started from.
    others
        Codecs that a device may choose instead; alike in whether they send differences.
    """

    codec: str
    tensors: Mapping[str, TensorInfo]
    base: Path
    others: tuple[str, ...] = ()

    @property
    def is_difference(self) -> bool:
        """Whether the files hold update − base."""
        return codecs.get(self.codec).difference

    def codec_of(self, file: MappedTensors, names: Iterable[str]) -> str:
        """Return the codec that these tensors of an update are in."""
        if not self.others:
            return self.codec
        model = {name: self.tensors[name] for name in names}
        wire = {one: file.header[one] for name in names for one in _parts(name, file)}
        return codecs.recognised(wire, model, among=[self.codec, *self.others])


class Row(Protocol):
    """One tensor of one update as a flat row of elements."""

    def add(self, part: slice, into: torch.Tensor, weight: float) -> None:
        """Add ``weight`` times the elements ``part`` to ``into``, and let go of their pages.

        ``part`` is one of :func:`slices`.
        """


@contextmanager
def opened(paths: Sequence[Path], encoding: Encoding) -> Iterator[list[MappedTensors]]:
    """Map updates to be read whole. Raises TensorError if one is not as ``encoding`` says."""
    with mapped(paths, encoding) as files:
        yield files
        for file in files:
            file.check_rest()


@contextmanager
def mapped(paths: Sequence[Path], encoding: Encoding) -> Iterator[list[MappedTensors]]:
    """Map updates to look at parts of them. Raises TensorError as :func:`opened` does."""
    with ExitStack() as stack:
        files = [stack.enter_context(MappedTensors(path)) for path in paths]
        for file in files:
            chosen = encoding.codec_of(file, encoding.tensors)
            check_matches(file.header, codecs.on_the_wire(encoding.tensors, codec=chosen))
        yield files


def rows(files: Sequence[MappedTensors], name: str, encoding: Encoding) -> list[Row]:
    """Return the tensor ``name`` of each update; to be dropped before the files are closed."""
    info = encoding.tensors[name]
    # One buffer for all: a conversion by add_ itself would allocate for every slice.
    scratch = torch.empty(min(CHUNK_ITEMS, prod(info.shape)), dtype=DTYPES[wide(info).dtype])
    return [_row(file, name, encoding, scratch) for file in files]


def _row(file: MappedTensors, name: str, encoding: Encoding, scratch: torch.Tensor) -> Row:
    chosen = codecs.get(encoding.codec_of(file, [name]))
    if isinstance(chosen, Cast):
        return _CastRow(file, name, scratch)
    if isinstance(chosen, Int8):
        return _Int8Row(file, name, scratch)
    return _SparseRow(file, name)


def _parts(name: str, file: MappedTensors) -> list[str]:
    return [one for one in (name, name + SCALE, name + INDEX) if one in file.header]


def wide(info: TensorInfo) -> TensorInfo:
    """Return a model's tensor as it is summed."""
    return TensorInfo("F64" if info.dtype == "F64" else "F32", info.shape)


def slices(info: TensorInfo, limit: int = CHUNK_ITEMS) -> Iterator[slice]:
    """Cut a tensor's elements into at most ``limit``: whole channels, or part of one channel."""
    count, parts = prod(info.shape), channels(info.shape)
    if count == 0:
        return
    row = count // parts
    if row <= limit:
        yield from in_chunks(count, limit // row * row)
        return
    for start in range(0, count, row):
        for part in in_chunks(row, limit):
            yield slice(start + part.start, start + part.stop)


class _CastRow:
    def __init__(self, file: MappedTensors, name: str, scratch: torch.Tensor) -> None:
        self._file, self._name, self._scratch = file, name, scratch
        self._flat = file.tensor(name).reshape(-1)

    def add(self, part: slice, into: torch.Tensor, weight: float) -> None:
        added = self._flat[part]
        if added.dtype != into.dtype:
            added = self._scratch[: len(added)].copy_(added)
        into.add_(added, alpha=weight)
        # Else every update's pages would stay until the end of the tensor.
        self._file.release(self._name, part)


class _Int8Row:
    def __init__(self, file: MappedTensors, name: str, scratch: torch.Tensor) -> None:
        self._file, self._name, self._scratch = file, name, scratch
        self._flat = file.tensor(name).reshape(-1)
        self._scales = file.tensor(name + SCALE).to(scratch.dtype, copy=True)
        file.release(name + SCALE)
        self._row = len(self._flat) // max(1, len(self._scales))

    def add(self, part: slice, into: torch.Tensor, weight: float) -> None:
        added = self._scratch[: part.stop - part.start].copy_(self._flat[part])
        first, last = part.start // self._row, -(-part.stop // self._row)
        if last - first == 1:
            into.add_(added, alpha=weight * float(self._scales[first]))
        else:
            scales = self._scales[first:last, None]
            rows = (last - first, self._row)
            into.view(rows).addcmul_(added.view(rows), scales, value=weight)
        self._file.release(self._name, part)


class _SparseRow:
    def __init__(self, file: MappedTensors, name: str) -> None:
        self._file, self._name = file, name
        self._values, self._index = file.tensor(name), file.tensor(name + INDEX)

    def add(self, part: slice, into: torch.Tensor, weight: float) -> None:
        # Indices rise (checked at the upload), so those of a slice stand together.
        bounds = torch.tensor([part.start, part.stop], dtype=self._index.dtype)
        first, last = torch.searchsorted(self._index, bounds).tolist()
        index = self._index[first:last].long() - part.start
        into.index_add_(0, index, self._values[first:last].to(into.dtype), alpha=weight)
        for one in (self._name, self._name + INDEX):
            self._file.release(one, slice(first, last))
            # The search has been all over them, and each look maps what lies around it.
            self._file.let_go(one)
