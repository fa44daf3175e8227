"""Reads data sets of several formats into arrays ``x_train``, ``y_train``, ``x_val``, ``y_val``.

For the child that prepares them (:mod:`propius.agent.preparing`): the agent never has the data in
its own memory.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from propius.agent.datasets import DatasetEntry, DatasetError
from propius.arrays import Array

Values = list[Any] | Array
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def load(entry: DatasetEntry, path: Path) -> dict[str, Array]:
    """Read a data set of any format. Raises :class:`DatasetError`, naming what is wrong."""
    return _FORMATS[entry.kind()](entry, path)


def _npz(_: DatasetEntry, path: Path) -> dict[str, Array]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _csv(entry: DatasetEntry, path: Path) -> dict[str, Array]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    if len(rows) < 2:
        raise DatasetError(f"{path} has no row under its header")
    header, body = rows[0], rows[1:]
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise DatasetError(
                f"{path}, line {number}: {len(row)} fields; the header has {len(header)}"
            )
    return _table(entry, path, {name: [row[i] for row in body] for i, name in enumerate(header)})


def _parquet(entry: DatasetEntry, path: Path) -> dict[str, Array]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DatasetError(f"{path}: parquet needs pyarrow: pip install pyarrow") from error
    there = parquet.read_schema(path).names
    chosen = _chosen(entry, path, there)
    table = parquet.read_table(path, columns=[*chosen, entry.target])
    for name in table.column_names:
        if table[name].null_count:
            raise DatasetError(f"{path}: column {name!r} has {table[name].null_count} empty values")
    return _table(entry, path, {name: table[name].to_numpy() for name in table.column_names})


def _images(entry: DatasetEntry, path: Path) -> dict[str, Array]:
    """One folder for each class; its place in the alphabet, or in ``classes``, is its number."""
    try:
        pillow: Any = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise DatasetError(f"{path}: images need Pillow: pip install pillow") from error
    classes = entry.classes or sorted(one.name for one in path.iterdir() if one.is_dir())
    pixels, labels = [], []
    for number, name in enumerate(classes):
        if not (path / name).is_dir():
            raise DatasetError(f"{path}: there is no folder {name!r}, which classes names")
        for file in sorted((path / name).iterdir()):
            if file.suffix.lower() in IMAGES:
                pixels.append(_pixels(pillow, entry, file))
                labels.append(number)
    if not pixels:
        raise DatasetError(f"{path}: no image in {', '.join(classes) or 'any folder'}")
    x = np.stack(pixels).astype(np.float32)
    x /= 255.0
    # Channels first, as torch has them.
    x = x[:, None] if entry.grey else np.moveaxis(x, 3, 1)
    return split(x, np.asarray(labels, np.int64), entry.validation)


def _pixels(pillow: Any, entry: DatasetEntry, file: Path) -> Array:
    """One image as bytes, upright as its camera says, of the size that the owner chose."""
    turned: Any = importlib.import_module("PIL.ImageOps").exif_transpose
    try:
        with pillow.open(file) as image:
            if image.mode.startswith("I;16"):
                # Of 16 bits the upper 8: Pillow would cut off what is brighter than 255.
                image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif image.mode in ("I", "F"):
                raise DatasetError(f"{file} has pixels of 32 bits; 8 and 16 are read")
            made = turned(image).convert("L" if entry.grey else "RGB")
            return np.asarray(made.resize((entry.size[1], entry.size[0])), np.uint8)
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise error if isinstance(error, DatasetError) else DatasetError(
            f"{file} cannot be read as an image: {error}"
        ) from error  # fmt: skip


def _python(entry: DatasetEntry, path: Path) -> dict[str, Array]:
    module, _, name = str(entry.loader).partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DatasetError(f"loader {entry.loader!r} cannot be imported: {error}") from error
    made = function()
    if not isinstance(made, dict):
        raise DatasetError(
            f"loader {entry.loader!r} returned {type(made).__name__}; a dict of arrays is wanted"
        )
    return {str(key): np.asarray(value) for key, value in made.items()}


def _chosen(entry: DatasetEntry, path: Path, there: list[str]) -> list[str]:
    """The columns of x, once it is clear that they and the target are there."""
    target = entry.target
    if target is None or target not in there:
        raise DatasetError(f"{path}: target is {target!r}; it must be one of {', '.join(there)}")
    chosen = entry.columns or [name for name in there if name != target]
    for name in chosen:
        if name not in there:
            raise DatasetError(f"{path}: columns names {name!r}; there are {', '.join(there)}")
    if not chosen:
        raise DatasetError(f"{path}: there is no column but the target {target!r}")
    return chosen


def _table(entry: DatasetEntry, path: Path, columns: Mapping[str, Values]) -> dict[str, Array]:
    chosen = _chosen(entry, path, list(columns))
    x = np.stack([_numbers(path, name, columns[name]) for name in chosen], axis=1)
    return split(x, _labels(entry, path, columns[str(entry.target)]), entry.validation)


def _numbers(path: Path, name: str, values: Values) -> Array:
    try:
        made = np.asarray(_floats(values), np.float32)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: column {name!r} is not all numbers: {error}") from error
    if not np.isfinite(made).all():
        raise DatasetError(f"{path}: column {name!r} has values that are not finite")
    return made


def _floats(values: Values) -> Array | list[float]:
    """Numbers as they are, text read as such. Raises ValueError or TypeError at anything else."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values.astype(np.int64) if values.dtype.kind == "b" else values
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        raise TypeError(f"{values.dtype} is no number")
    return [float(one) for one in values]


def _labels(entry: DatasetEntry, path: Path, values: Values) -> Array:
    """Whole numbers stay, other numbers are regression targets, text is numbered as classes."""
    if not entry.classes:
        try:
            numbers = np.asarray(_floats(values))
        except (TypeError, ValueError):
            pass
        else:
            if not np.isfinite(numbers).all():
                raise DatasetError(f"{path}: target {entry.target!r} has values not finite")
            whole = (numbers == np.floor(numbers)).all()
            return numbers.astype(np.int64 if whole else np.float32)
    classes = entry.classes or sorted({str(one) for one in values})
    number = {name: index for index, name in enumerate(classes)}
    unknown = sorted({str(one) for one in values} - set(number))
    if unknown:
        raise DatasetError(f"{path}: {unknown[0]!r} is none of the classes {', '.join(classes)}")
    return np.asarray([number[str(one)] for one in values], np.int64)


def split(x: Array, y: Array, validation: float) -> dict[str, Array]:
    """Put a share of the examples aside, the same ones each time; both splits get at least one."""
    order = np.random.default_rng(0).permutation(len(x))
    aside = min(len(x) - 1, max(1, round(validation * len(x)))) if len(x) > 1 else 0
    val, train = np.sort(order[:aside]), np.sort(order[aside:])
    return {"x_train": x[train], "y_train": y[train], "x_val": x[val], "y_val": y[val]}


_FORMATS: dict[str, Callable[[DatasetEntry, Path], dict[str, Array]]] = {
    "npz": _npz,
    "csv": _csv,
    "parquet": _parquet,
    "images": _images,
    "python": _python,
}
