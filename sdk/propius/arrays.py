"""Numpy arrays to and from safetensors bytes, after the checks of :mod:`propius.tensors`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from propius.tensors import TensorError, TensorInfo, header_of, opened

Array = npt.NDArray[Any]
NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
BF16 = np.dtype([("bf16", "<u2")])
"""The bits of bfloat16, which numpy does not know: to be written, never computed with."""


def load(source: str | Path | bytes) -> dict[str, Array]:
    """Read a safetensors file into numpy arrays, after ``tensors.read_header``'s checks.

    Raises
    ------
    TensorError
        As ``tensors.read_header``; code ``bad_dtype`` for BF16, which numpy cannot hold.
    """
    with opened(source) as data:
        tensors = {}
        for name, info in header_of(data).items():
            dtype = NUMPY_DTYPES.get(info.dtype)
            if dtype is None:
                raise TensorError(
                    "bad_dtype",
                    f"tensors.{name}",
                    f"tensor {name!r} is {info.dtype}, which numpy cannot hold;"
                    f" allowed here: {', '.join(NUMPY_DTYPES)}",
                )
            raw = bytearray(data[info.begin : info.end])
            tensors[name] = np.frombuffer(raw, dtype=dtype).reshape(info.shape)
        return tensors


def describe(tensors: Mapping[str, Array]) -> dict[str, TensorInfo]:
    """Names, dtypes and shapes of numpy arrays, as ``tensors.check_matches`` takes them."""
    return {
        name: TensorInfo(dtype_code(array.dtype), tuple(array.shape))
        for name, array in tensors.items()
    }


def dtype_code(dtype: np.dtype[Any]) -> str:
    """The safetensors code of a numpy dtype.

    Raises
    ------
    TensorError
        Code ``bad_dtype`` if safetensors has no such dtype.
    """
    if dtype == BF16:
        return "BF16"
    for code, known in NUMPY_DTYPES.items():
        if known == dtype:
            return code
    raise TensorError(
        "bad_dtype", "dtype", f"dtype {dtype} is not allowed; allowed: {', '.join(NUMPY_DTYPES)}"
    )


def save(tensors: Mapping[str, Array]) -> bytes:
    """Write numpy arrays as a safetensors file: equal tensors give equal bytes."""
    header: dict[str, Any] = {}
    chunks: list[bytes] = []
    position = 0
    for name in sorted(tensors):
        array = tensors[name]
        code = dtype_code(array.dtype)
        raw = array.astype(NUMPY_DTYPES.get(code, BF16), copy=False).tobytes()
        header[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [position, position + len(raw)],
        }
        position += len(raw)
        chunks.append(raw)
    text = msgspec.json.encode(header)
    # The format's own writers align the data to eight bytes with spaces.
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])


def save_file(tensors: Mapping[str, Array], path: str | Path) -> None:
    """Write :func:`save`'s bytes to ``path``."""
    Path(path).write_bytes(save(tensors))
