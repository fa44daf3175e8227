"""Data sets by name, and the private attributes that follow from them.

``datasets.toml`` in the device's folder; paths are relative to it::

    [digits]
    path = "digits.npz"         # arrays x_train, y_train, x_val, y_val
    labels = { site = "north" } # the owner's own private attributes

    [irises]
    path = "irises.csv"         # or .parquet (with pyarrow): a header, columns of numbers
    target = "species"          # y; x is every other column, or those in `columns`
    validation = 0.2            # share put aside for evaluation

    [leaves]
    path = "leaves"             # a folder of images for each class (with Pillow)
    size = [64, 64]             # height and width; `grey = true` for one channel

    [meters]
    loader = "my_module:load"   # returns a dict of the four arrays; my_module.py is beside the file

``classes = ["a", "b"]`` fixes the numbers of classes, ``transforms`` are those of
:mod:`propius.agent.transforms`. What is no plain npz is prepared once, in a process of its own
under the owner's memory cap, and again when the file changes; a large npz is looked at there too.
Nothing here is ever sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from propius.agent import dataset_files, errand, owner_files
from propius.agent.transforms import Transform
from propius.constraints import Scalar
from propius.needs import ArrayInfo

log = logging.getLogger(__name__)
ARRAYS = ("x_train", "y_train", "x_val", "y_val")
PREPARE_S = 900.0
AGAIN_S = 600.0
"""Before what could not be prepared is tried again, or longer: see ``SHARE``."""
SHARE = 10
"""A data set that takes long to fail gets at most one second in so many."""
SMALL_BYTES = 32 << 20
"""Of an npz, unpacked: what the agent itself opens to describe."""
MEMORY_MB = 1024
Kind = Literal["npz", "csv", "parquet", "images", "python"]
Reference = Annotated[str, Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*(?!\n)$")]
Side = Annotated[int, Meta(ge=1, le=4096)]


class DatasetError(ValueError):
    """A data set that cannot be used; the text is for the device's owner."""


class DatasetUnready(DatasetError):
    """A data set that is being prepared."""


class DatasetUnprepared(DatasetError):
    """A data set that could not be read for want of time, memory, disk or the like."""


class DatasetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One section of the file."""

    path: str = ""
    format: Kind | None = None
    loader: Reference | None = None
    labels: dict[str, Scalar] = {}
    target: str | None = None
    columns: list[str] = []
    classes: list[str] = []
    validation: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    size: tuple[Side, Side] = (32, 32)
    grey: bool = False
    transforms: list[Transform] = []

    def kind(self) -> Kind:
        """Return the format, told by the file's name unless the owner says it."""
        if self.loader is not None:
            return "python"
        suffixes: dict[str, Kind] = {".csv": "csv", ".parquet": "parquet", "": "images"}
        return self.format or suffixes.get(Path(self.path).suffix.lower(), "npz")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a data set: private attributes, and arrays by name without the split."""

    attributes: dict[str, Scalar]
    schema: dict[str, ArrayInfo]


class Fault(NamedTuple):
    """What the preparing child found wrong; ``passing`` if it is not of the data itself."""

    text: str
    passing: bool = False


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the preparing child is to do; without ``output`` it only describes."""

    entry: DatasetEntry
    base: str
    path: str
    output: str
    memory_mb: int
    parent: int


class Datasets:
    """The device's data sets. Arrays are opened only to describe them, then let go."""

    def __init__(
        self,
        entries: dict[str, DatasetEntry],
        *,
        base: Path,
        memory_mb: int = MEMORY_MB,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries = entries
        self._base = base
        self._memory_mb = memory_mb
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[str, tuple[str, Description | DatasetError]] = {}
        self._again_at: dict[str, float] = {}

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def source(self, name: str) -> Path:
        """Return the owner's file or folder of a data set that is known."""
        return self._base / self._entries[name].path

    def path(self, name: str) -> Path:
        """Return the npz of a data set that is known: the owner's own, or the prepared one."""
        entry = self._entries[name]
        return self.source(name) if _is_plain(entry) else self._prepared(name)

    def private_attributes(self, name: str) -> dict[str, Scalar]:
        """Return ``examples``, ``validation_examples``, ``label_classes`` and the owner's labels.

        ``label_classes`` counts the distinct labels of ``y_train`` and is there only if they are
        integers. Derived again when the file has changed.

        Raises
        ------
        DatasetUnready
            It is being prepared: :meth:`refresh` does that.
        DatasetError
            It is missing, or not what the file says.
        """
        return {**self.describe(name).attributes, **self._entries[name].labels}

    def describe(self, name: str) -> Description:
        """Return attributes and schema. Raises as :meth:`private_attributes`."""
        entry = self._entries[name]
        try:
            state = dataset_files.state(entry, self.source(name), self._base)
        except OSError as error:
            raise DatasetError(f"data set {name!r} ({self.source(name)}): {error}") from error
        known = self._known.get(name)
        if known is None or known[0] != state:
            if not _is_plain(entry) or not _is_small(self.source(name)):
                raise DatasetUnready(f"data set {name!r} is being prepared")
            known = state, _described(name, self.source(name))
            if not isinstance(known[1], DatasetUnprepared):
                self._known[name] = known
        if isinstance(known[1], DatasetError):
            raise known[1]
        return known[1]

    async def refresh(self) -> None:
        """Prepare what is new, changed or due; may take long, and ends at once when cancelled."""
        async with self._one_at_a_time:
            for name, entry in self._entries.items():
                source = self.source(name)
                if _is_plain(entry) and _is_small(source):
                    continue
                try:
                    state = await asyncio.to_thread(dataset_files.state, entry, source, self._base)
                except OSError:
                    continue  # said when it is asked for
                known = self._known.get(name)
                if known is None or known[0] != state or self._is_due(name):
                    begun = self._clock()
                    self._known[name] = state, await self._prepare(name, entry, state)
                    took = self._clock() - begun
                    self._again_at[name] = self._clock() + max(AGAIN_S, SHARE * took)

    def _is_due(self, name: str) -> bool:
        """Tell whether what failed for now may be tried again."""
        found = self._known[name][1]
        return isinstance(found, DatasetUnprepared) and self._clock() >= self._again_at[name]

    def _prepared(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self._base / "prepared" / f"{digest}.npz"

    async def _prepare(
        self, name: str, entry: DatasetEntry, state: str
    ) -> Description | DatasetError:
        output, note = self._prepared(name), self._prepared(name).with_suffix(".json")
        try:
            known = msgspec.json.decode(note.read_bytes(), type=tuple[str, Description])
            if known[0] == state and self.path(name).exists():
                return known[1]
        except (OSError, msgspec.MsgspecError):
            pass  # prepared now
        task = Task(
            entry=entry, base=str(self._base), path=str(self.source(name)),
            output="" if _is_plain(entry) else str(output), memory_mb=self._memory_mb,
            parent=os.getpid(),
        )  # fmt: skip
        try:
            output.parent.mkdir(mode=0o700, exist_ok=True)
            found = await _run(name, task)
            if isinstance(found, Description):
                note.write_bytes(msgspec.json.encode((state, found)))
        except OSError as error:
            found = DatasetUnprepared(f"data set {name!r} cannot be prepared: {error}")
        if isinstance(found, DatasetError):
            log.warning("dataset.unusable %s", found)
        return found


def load(path: Path, *, memory_mb: int = MEMORY_MB) -> Datasets:
    """Read the data set file; what prepares data may use so much memory.

    Raises
    ------
    OwnerFileError
        It cannot be read.
    """
    nothing: dict[str, DatasetEntry] = {}
    entries = owner_files.read(path, dict[str, DatasetEntry], missing=nothing)
    for name, entry in entries.items():
        if not entry.path and entry.loader is None:
            raise owner_files.OwnerFileError(f"{path}: {name} has neither path nor loader")
    return Datasets(entries, base=path.parent, memory_mb=memory_mb)


def _is_plain(entry: DatasetEntry) -> bool:
    return entry.kind() == "npz" and not entry.transforms


def _described(name: str, path: Path) -> Description | DatasetError:
    # An idle agent shall not carry numpy's 20 MB before a job asks.
    import numpy as np

    from propius.agent import preparing

    try:
        # Opened here, for numpy leaves a file open that is no zip.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return preparing.describe(arrays)
    except dataset_files.UNREADABLE as error:
        kind = DatasetUnprepared if dataset_files.is_passing(error) else DatasetError
        return kind(f"data set {name!r} ({path}) is no npz with {', '.join(ARRAYS)}: {error}")


def _is_small(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(one.file_size for one in archive.infolist()) <= SMALL_BYTES
    except (OSError, zipfile.BadZipFile):
        return True  # nothing to unpack; what is wrong is said by who opens it


async def _run(name: str, task: Task) -> Description | DatasetError:
    """Let the child prepare; raises :class:`OSError` if there can be none."""
    argument = msgspec.json.encode(task).decode()
    try:
        answer = await errand.run("propius.agent.preparing", argument, timeout_s=PREPARE_S)
        made = msgspec.json.decode(answer.said, type=Description | Fault)
    except TimeoutError:
        return DatasetUnprepared(f"data set {name!r}: not prepared after {PREPARE_S:.0f} s")
    except msgspec.MsgspecError:
        return DatasetUnprepared(f"data set {name!r} cannot be prepared: {answer.complaint}")
    if isinstance(made, Description):
        return made
    return (DatasetUnprepared if made.passing else DatasetError)(f"data set {name!r}: {made.text}")
