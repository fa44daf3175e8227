"""Safetensors files for torch: memory-mapped to read, tensor by tensor to write.

Importing this imports torch: workers only.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from types import TracebackType

import msgspec
import torch

from aggregation import blobs, chunk_sums
from aggregation.chunk_sums import ChunkCheck
from propius.tensors import ITEM_BYTES, TensorInfo, header_of

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
AROUND_BYTES = 2 << 20
"""No less than a chunk, or than a large folio of the page cache."""


class MappedTensors:
    """The tensors of a file as views of its pages: nothing is read until it is used.

    Every view ends with the ``with`` block. Chunks whose bytes have been used are compared with
    their sums while they are still in the cache; :meth:`check_rest` compares the others.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            # Copy-on-write: torch wants memory that it may write to, and the file stays as it is.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._check = _check_of(path, self._map)
        self.header = header_of(self._map)
        if self._check is not None:
            self._check.used(0, min((one.begin for one in self.header.values()), default=0))
        # With the header the kernel maps what lies around it, of every file that is open.
        self._map.madvise(mmap.MADV_DONTNEED)

    def tensor(self, name: str) -> torch.Tensor:
        """Return the tensor ``name``, in the file's dtype and shape."""
        info = self.header[name]
        dtype = DTYPES[info.dtype]
        count = prod(info.shape)
        if count == 0:
            return torch.empty(info.shape, dtype=dtype)
        if info.begin % ITEM_BYTES[info.dtype]:
            # The format lets a tensor start anywhere; torch's vector code does not.
            copy = bytearray(self._map[info.begin : info.end])
            return torch.frombuffer(copy, dtype=dtype).reshape(info.shape)
        flat = torch.frombuffer(self._map, dtype=dtype, count=count, offset=info.begin)
        return flat.reshape(info.shape)

    def release(self, name: str, items: slice | None = None) -> None:
        """Let go of the memory of (some elements of) a tensor that is done with."""
        info = self.header[name]
        begin, end = info.begin, info.end
        if items is not None:
            width = ITEM_BYTES[info.dtype]
            begin, end = begin + items.start * width, begin + items.stop * width
        if self._check is not None:
            self._check.used(begin, end)
        self._let_go(begin, end)

    def let_go(self, name: str) -> None:
        """Let go of the memory of a tensor that is read here and there, and again."""
        self._let_go(self.header[name].begin, self.header[name].end)

    def _let_go(self, begin: int, end: int) -> None:
        # And of what lies around: the kernel maps more than the page that was looked at, and chunks
        # are compared whole. What is needed yet is mapped again from the cache.
        begin = max(0, begin - AROUND_BYTES) // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(len(self._map), end + AROUND_BYTES)
        if begin < end:
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def check(self, name: str) -> None:
        """Compare the chunks that a tensor stands in, of a file not read whole.

        Raises BlobRotted.
        """
        if self._check is not None:
            self._check.compare(self.header[name].begin, self.header[name].end)

    def check_rest(self) -> None:
        """Compare every chunk that has not been compared. Raises BlobRotted."""
        if self._check is not None:
            self._check.finish()

    def __enter__(self) -> MappedTensors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._map.close()
        except BufferError:
            # An error's traceback may still hold a view; the map then goes with it.
            if kind is None:
                raise


def _check_of(path: Path, data: mmap.mmap) -> ChunkCheck | None:
    sums = chunk_sums.read(path, len(data))
    if sums is None:
        return None

    def fail(begin: int, end: int) -> None:
        raise blobs.rotted(path.name, begin, end)

    return ChunkCheck(sums, len(data), lambda begin, end: data[begin:end], fail)


def header_bytes(tensors: Mapping[str, TensorInfo]) -> bytes:
    """Return the header of a file of these tensors, to be followed by their bytes in this order."""
    entries = {}
    position = 0
    for name, info in tensors.items():
        end = position + info.size_bytes
        entries[name] = {
            "dtype": info.dtype,
            "shape": info.shape,
            "data_offsets": (position, end),
        }
        position = end
    text = msgspec.json.encode(entries)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor without a copy, if it is contiguous."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


def in_chunks(count: int, step: int) -> Iterator[slice]:
    """Cut ``count`` elements into slices of ``step``."""
    for begin in range(0, count, step):
        yield slice(begin, min(begin + step, count))
