"""Data sets by name, and the private attributes that follow from them.

``datasets.toml`` in the device's folder::

    [digits]
    path = "digits.npz"         # arrays x_train, y_train, x_val, y_val; relative to the file
    labels = { site = "north" } # the owner's own private attributes

Private attributes answer a job's private constraints on this device. Nothing here is ever sent.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec

from propius.agent import owner_files
from propius.constraints import Scalar

ARRAYS = ("x_train", "y_train", "x_val", "y_val")


class DatasetError(ValueError):
    """A data set that cannot be used; the text is for the device's owner."""


class DatasetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One section of the file."""

    path: str
    labels: dict[str, Scalar] = {}


class Datasets:
    """The device's data sets. Arrays are opened only to derive private attributes, then let go."""

    def __init__(self, entries: dict[str, DatasetEntry], *, base: Path) -> None:
        self._entries = entries
        self._base = base
        self._derived: dict[str, tuple[int, dict[str, Scalar]]] = {}

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._entries)

    def path(self, name: str) -> Path:
        """Return the file of a data set that is known."""
        return self._base / self._entries[name].path

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def private_attributes(self, name: str) -> dict[str, Scalar]:
        """Return ``examples``, ``validation_examples``, ``label_classes`` and the owner's labels.

        ``label_classes`` counts the distinct labels of ``y_train`` and is there only if they are
        integers. Derived again when the file has changed.

        Raises
        ------
        DatasetError
            The file is missing, or is no such npz.
        """
        path = self.path(name)
        try:
            changed = path.stat().st_mtime_ns
            known = self._derived.get(name)
            if known is None or known[0] != changed:
                known = changed, {**_derive(path), **self._entries[name].labels}
                self._derived[name] = known
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"data set {name!r} ({path}) is no npz with {', '.join(ARRAYS)}: {error}"
            ) from error
        return known[1]


def _derive(path: Path) -> dict[str, Scalar]:
    # An idle agent shall not carry numpy's 20 MB before a job asks.
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        absent = [name for name in ARRAYS if name not in arrays]
        if absent:
            raise ValueError(f"{', '.join(absent)} missing")
        labels = arrays["y_train"]
        found: dict[str, Scalar] = {
            "examples": len(labels),
            "validation_examples": len(arrays["y_val"]),
        }
        if np.issubdtype(labels.dtype, np.integer):
            found["label_classes"] = len(np.unique(labels))
        return found


def load(path: Path) -> Datasets:
    """Read the data set file. Raises :class:`owner_files.OwnerFileError`."""
    entries: dict[str, DatasetEntry] = {}
    return Datasets(
        owner_files.read(path, dict[str, DatasetEntry], missing=entries), base=path.parent
    )
