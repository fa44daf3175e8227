"""The child that prepares one data set: ``python -m propius.agent.preparing`` with a task.

Reads the owner's format, does the declared transforms and writes one npz; answers on standard
output with a description, or with what is wrong. A process of its own: the data, numpy and the
owner's loader are gone when it ends, its priority is the lowest, and its memory is capped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from propius.agent import loaders, transforms
from propius.agent.dataset_files import UNREADABLE, is_passing
from propius.agent.datasets import (
    ARRAYS,
    DatasetEntry,
    DatasetError,
    Description,
    Fault,
    Task,
)
from propius.arrays import Array
from propius.constraints import Scalar
from propius.needs import ArrayInfo
from propius.training import limits


def prepare(entry: DatasetEntry, path: Path, output: Path | None) -> Description:
    """Describe the data set, and write it as npz if asked to. Raises :class:`DatasetError`."""
    try:
        data = transforms.apply(entry.transforms, loaders.load(entry, path))
    except transforms.TransformError as error:
        raise DatasetError(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise error if isinstance(error, DatasetError) else DatasetError(
            f"{path} cannot be read: {error}"
        ) from error  # fmt: skip
    found = describe(data)
    if output is None:
        return found
    draft = output.with_suffix(".new.npz")
    np.savez(draft, **data)  # type: ignore[arg-type]
    draft.replace(output)
    return found


def describe(data: Mapping[str, Array]) -> Description:
    """Return the private attributes and the schema of arrays. Raises :class:`DatasetError`."""
    absent = [name for name in ARRAYS if name not in data]
    if absent:
        raise DatasetError(f"{', '.join(absent)} missing")
    for name, array in data.items():
        if array.dtype.kind not in "biuf":
            raise DatasetError(f"{name} holds {array.dtype}; numbers are wanted")
    labels = data["y_train"]
    attributes: dict[str, Scalar] = {
        "examples": len(labels),
        "validation_examples": len(data["y_val"]),
    }
    if np.issubdtype(labels.dtype, np.integer):
        attributes["label_classes"] = len(np.unique(labels))
    schema = {
        name.removesuffix("_train"): _info(array)
        for name, array in data.items()
        if name.endswith("_train")
    }
    return Description(attributes=attributes, schema=schema)


def _info(array: Array) -> ArrayInfo:
    classes = None
    if array.ndim == 1 and array.dtype.kind in "iu" and len(array) and array.min() >= 0:
        classes = int(array.max()) + 1
    return ArrayInfo(dtype=array.dtype.name, shape=list(array.shape[1:]), classes=classes)


def main() -> int:
    """Prepare what the argument says."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    limits.die_with_parent(task.parent)
    os.nice(19)
    limits.cap_memory(task.memory_mb)
    # The owner's loader lives beside the data set file.
    sys.path.insert(0, task.base)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a loader prints
    try:
        output = Path(task.output) if task.output else None
        made: Description | Fault = prepare(task.entry, Path(task.path), output)
    except DatasetError as error:
        made = Fault(str(error), is_passing(error))
    except MemoryError:
        made = Fault(
            f"{task.entry.loader or task.path}: reading it needs more than the "
            f"{task.memory_mb} MB that it may use (memory_mb in conditions.toml)",
            passing=True,
        )
    except Exception as error:  # noqa: BLE001 (a loader's own fault, at the process's edge)
        text = f"{task.entry.loader or task.path}: {type(error).__name__}: {error}"
        made = Fault(text, is_passing(error))
    with answer:
        answer.write(msgspec.json.encode(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
