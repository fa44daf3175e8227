"""Reads a device's data set: one file of arrays with a train and a validation split."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from propius import arrays
from propius.arrays import Array
from propius.training.batches import DataError

CACHE_BYTES_MAX = 256 << 20


def read(path: str | Path) -> dict[str, Array]:
    """Arrays of an ``.npz`` (never pickled ones) or ``.safetensors`` file.

    Raises
    ------
    DataError
        If the file is neither, or holds Python objects.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return arrays.load(path)
    if path.suffix != ".npz":
        raise DataError("data_path", f"{path.name!r} is no data set; allowed: .npz, .safetensors")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError("data_path", f"{path.name!r} cannot be read as .npz: {error}") from error


def split_of(data: Mapping[str, Array], split: str) -> dict[str, Array]:
    """The arrays of one split, under their names without ``_train`` or ``_val``.

    Examples
    --------
    >>> sorted(split_of({"x_train": np.zeros(2), "x_val": np.zeros(1)}, "val"))
    ['x']
    """
    suffix = f"_{split}"
    chosen = {k.removesuffix(suffix): v for k, v in data.items() if k.endswith(suffix)}
    if not chosen:
        raise DataError(
            "data", f"there is no array named …{suffix}; there are {', '.join(sorted(data))}"
        )
    return chosen


class DataCache:
    """Data sets by path, re-read when the file changes; the least used go first."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._sets: OrderedDict[tuple[str, int, int], dict[str, Array]] = OrderedDict()

    def get(self, path: str) -> dict[str, Array]:
        """As :func:`read`, from memory if possible."""
        stat = Path(path).stat()
        key = (path, stat.st_mtime_ns, stat.st_size)
        if key not in self._sets:
            self._sets[key] = read(path)
            while len(self._sets) > 1 and self._size_bytes() > self._bytes_max:
                self._sets.popitem(last=False)
        self._sets.move_to_end(key)
        return self._sets[key]

    def _size_bytes(self) -> int:
        return sum(array.nbytes for arrays_ in self._sets.values() for array in arrays_.values())


def write_output(path: str | None, data: bytes) -> None:
    """Write a task's result so that the file is whole or absent.

    Raises
    ------
    DataError
        Without a path.
    """
    if path is None:
        raise DataError("output_path", "training needs a path for its result")
    with open(f"{path}.part", "wb") as file:
        file.write(data)
    os.replace(f"{path}.part", path)
