"""Safetensors files: strict checks of foreign bytes, without torch.

A safetensors file is eight bytes of header length, a JSON header that gives each tensor's dtype,
shape and byte range, and the bytes. Nothing in it can run; what can be wrong is checked here.
"""

from __future__ import annotations

import json
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from propius import bits

HEADER_BYTES_MAX = 8 * 1024 * 1024
TENSORS_MAX = 100_000
NAME_CHARS_MAX = 256
DIMENSIONS_MAX = 16
ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


class TensorError(ValueError):
    """Bytes that are no acceptable set of tensors.

    Attributes
    ----------
    code : str
        Stable, for programs: ``not_safetensors``, ``header_too_large``, ``tensor_mismatch``, …
    field : str
        The tensor (``tensors.fc.weight``) or the part (``header``) that is wrong.
    """

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a header: dtype code (``F32``), shape, and byte range within the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int = 0
    end: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor, from dtype and shape."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@contextmanager
def opened(source: str | Path | bytes) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file, memory-mapped, or of ``source`` itself."""
    if isinstance(source, bytes):
        yield source
        return
    with Path(source).open("rb") as file:
        if file.seek(0, 2) == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def read_header(source: str | Path | bytes) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file.

    Parameters
    ----------
    source
        A path, or the file's bytes.

    Returns
    -------
    dict[str, TensorInfo]
        By name, in file order; ``begin`` and ``end`` count from the start of the file.

    Raises
    ------
    TensorError
        Naming the tensor or the part of the header, and what is allowed.
    """
    with opened(source) as data:
        return header_of(data)


def header_of(data: mmap.mmap | bytes) -> dict[str, TensorInfo]:
    """As :func:`read_header`, for bytes that are open already."""
    if len(data) < 8:
        raise _not_safetensors(f"it has {len(data)} bytes; the header's length alone takes 8")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_BYTES_MAX:
        raise TensorError(
            "header_too_large",
            "header",
            f"the header says it has {length} bytes; at most {HEADER_BYTES_MAX} are allowed"
            " (or this is no safetensors file)",
        )
    if 8 + length > len(data):
        raise _not_safetensors(f"the header says it has {length} bytes, but {len(data) - 8} follow")
    text = bytes(data[8 : 8 + length])
    entries = _decode_header(text)
    tensors = {
        name: _checked(name, entry, 8 + length, len(data)) for name, entry in entries.items()
    }
    _check_contiguous(tensors, 8 + length, len(data))
    return dict(sorted(tensors.items(), key=lambda item: item[1].begin))


def _decode_header(text: bytes) -> dict[str, _Entry]:
    if not text.startswith(b"{"):
        raise _not_safetensors("the header is not a JSON object")
    try:
        raw = json.loads(text, object_pairs_hook=_without_duplicates)
        msgspec.convert(raw.pop("__metadata__", None), dict[str, str] | None)
    except (ValueError, RecursionError) as error:
        if isinstance(error, TensorError):
            raise
        raise _not_safetensors(f"the header is not valid JSON ({error})") from error
    if len(raw) > TENSORS_MAX:
        raise TensorError(
            "too_many_tensors", "header", f"{len(raw)} tensors; at most {TENSORS_MAX} are allowed"
        )
    entries = {}
    for name, value in raw.items():
        try:
            entries[name] = msgspec.convert(value, _Entry)
        except msgspec.ValidationError as error:
            raise TensorError(
                "bad_entry",
                f"tensors.{name[:NAME_CHARS_MAX]}",
                f"tensor {name[:NAME_CHARS_MAX]!r}: {error};"
                " allowed are dtype, shape and data_offsets",
            ) from error
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        # One pass: a crafted header has a million names.
        counts = Counter(name for name, _ in pairs)
        twice = max(counts, key=counts.__getitem__)[:NAME_CHARS_MAX]
        raise TensorError(
            "duplicate_tensor", f"tensors.{twice}", f"{twice!r} stands twice in the header"
        )
    return result


def _checked(name: str, entry: _Entry, start: int, total: int) -> TensorInfo:
    field = f"tensors.{name[:NAME_CHARS_MAX]}"
    if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise TensorError(
            "bad_name", field, f"a tensor's name has 1 to {NAME_CHARS_MAX} printable characters"
        )
    if entry.dtype not in ITEM_BYTES:
        raise TensorError(
            "bad_dtype",
            field,
            f"tensor {name!r} has dtype {entry.dtype[:20]!r}; allowed: {', '.join(ITEM_BYTES)}",
        )
    if len(entry.shape) > DIMENSIONS_MAX or any(not 0 <= size < 2**48 for size in entry.shape):
        raise TensorError(
            "bad_shape",
            field,
            f"tensor {name!r} has shape {entry.shape[:20]}; allowed: at most {DIMENSIONS_MAX}"
            " dimensions, none negative",
        )
    begin, end = entry.data_offsets
    info = TensorInfo(entry.dtype, tuple(entry.shape), start + begin, start + end)
    if not (0 <= begin <= end and info.end <= total and end - begin == info.size_bytes):
        raise TensorError(
            "bad_offsets",
            field,
            f"tensor {name!r} takes {info.size_bytes} bytes by its dtype and shape, but"
            f" data_offsets say {begin} to {end} of {total - start} bytes",
        )
    return info


def _check_contiguous(tensors: Mapping[str, TensorInfo], start: int, total: int) -> None:
    position = start
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != position:
            raise TensorError(
                "bad_offsets",
                f"tensors.{name}",
                f"tensor {name!r} begins at byte {info.begin - start}, expected"
                f" {position - start}: tensors must follow each other without hole or overlap",
            )
        position = info.end
    if position != total:
        raise TensorError(
            "trailing_bytes", "header", f"{total - position} bytes follow the last tensor"
        )


def _not_safetensors(why: str) -> TensorError:
    return TensorError("not_safetensors", "header", f"this is no safetensors file: {why}")


def check_matches(header: Mapping[str, TensorInfo], expected: Mapping[str, TensorInfo]) -> None:
    """Check that two sets of tensors have the same names, shapes and dtypes.

    Raises
    ------
    TensorError
        Code ``tensor_mismatch``, naming the first tensor (in ``expected``'s order) that differs.
    """
    for name, want in expected.items():
        got = header.get(name)
        if got is None:
            raise _mismatch(name, f"tensor {name!r} is missing; {_described(want)} is expected")
        if (got.dtype, got.shape) != (want.dtype, want.shape):
            raise _mismatch(
                name, f"tensor {name!r} is {_described(got)}; {_described(want)} is expected"
            )
    for name in header:
        if name not in expected:
            raise _mismatch(
                name, f"tensor {name!r} is not expected; allowed: {_some(sorted(expected))}"
            )


def _mismatch(name: str, message: str) -> TensorError:
    return TensorError("tensor_mismatch", f"tensors.{name}", message)


def _described(info: TensorInfo) -> str:
    return f"{info.dtype} {list(info.shape)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def check_finite(source: str | Path | bytes, *, below: Mapping[str, int] | None = None) -> None:
    """Check that no float in a safetensors file is infinite or NaN, nor as large as asked.

    ``below`` gives, by tensor, an e: elements of 2^e and more, of either sign, are refused, too.
    Works on the raw bytes, so bfloat16 needs no torch; memory is flat (1 to 4 MB).

    Raises
    ------
    TensorError
        Code ``not_finite`` or ``too_large_value``, naming the tensor and the index of the first
        such element; or as :func:`read_header`.
    """
    with opened(source) as data:
        for name, info in header_of(data).items():
            if info.dtype in bits.EXPONENT:
                _check_floats(data, name, info, (below or {}).get(name))


def _check_floats(data: mmap.mmap | bytes, name: str, info: TensorInfo, below: int | None) -> None:
    large = None
    if below is not None:
        large = bits.first_from(data, info.dtype, info.begin, info.end, exponent=below)
        if large is None:
            return  # and finite: one pass is all that a good update takes
    index = bits.first_not_finite(data, info.dtype, info.begin, info.end)
    if index is not None:
        raise TensorError(
            "not_finite",
            f"tensors.{name}",
            f"tensor {name!r} has an infinite or NaN element at index {index};"
            " only finite numbers are allowed",
        )
    if below is not None and large is not None:
        raise TensorError(
            "too_large_value",
            f"tensors.{name}",
            f"tensor {name!r} has an element of {2.0**below:.3g} or more at index {large};"
            " smaller ones are allowed, so that no sum of updates overflows",
        )
