"""Folds and steps a job again from files alone, by the code that folded it first.

``propius job rerun`` finds this module in the platform's folder: the SDK knows no strategies. No
settings and no database are needed. Importing this imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aggregation import gathering, recipe, rules, strategies, sums
from aggregation.decoding import Encoding
from aggregation.recipe import Recipe, Report, Scalars
from aggregation.strategies import AllUpdates
from jobs import constraints
from propius.program import container
from propius.tensors import read_header

made_with = recipe.made_with


@dataclass(frozen=True, slots=True)
class Made:
    """A file that was written, and its SHA-256."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Part(Made):
    """The sum of a batch."""

    scalars: Scalars
    reports: Sequence[Report]


class Refolding:
    """The rounds of one job, each from the version before it.

    Parameters
    ----------
    spec
        The job's, normalised.
    parameters, program
        What it began with; a handler's has no program.
    folder
        Where to write.
    """

    def __init__(
        self, spec: Mapping[str, Any], parameters: Path, program: Path | None, folder: Path
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._files = 0
        self._ruled = rules.ruled(
            read_header(parameters),
            container.load(program).rules() if program else {},
            spec["workload"].get("local", ()),
        )

    def fold(self, base: Path, reports: Sequence[tuple[Path, float, Mapping[str, float]]]) -> Part:
        """Sum a batch of updates, each ``(file, weight, metrics)``, in their order."""
        found = [Report(path, weight, metrics) for path, weight, metrics in reports]
        with self._file("partial") as file:
            scalars = recipe.fold(self._recipe(base), found, file.write)
        return Part(file.path, file.digest, scalars, found)

    def step(
        self, base: Path, state: Path | None, parts: Sequence[Part]
    ) -> tuple[Made, Made | None]:
        """Make the next version of a round's parts, and what the strategy keeps beside it.

        Raises
        ------
        StrategyError, NotFinite, TensorError
            As the round did.
        """
        how = self._recipe(base, state)
        if isinstance(how.strategy, AllUpdates):
            with self._file("version") as file:
                gathering.close(
                    updates=[one.path for part in parts for one in part.reports],
                    encoding=how.encoding,
                    rules=how.rules,
                    strategy=how.strategy,
                    write=file.write,
                )
            return file.made(), None
        scalars = sums.merge_metrics(part.scalars.metrics for part in parts)
        counted = ((part.scalars.weight, len(part.reports)) for part in parts)
        with self._file("version") as file, self._file("state") as beside:
            sums.close(
                base=base,
                partials=[part.path for part in parts],
                merged=recipe.merged(how.strategy, counted, scalars),
                rules=how.rules,
                strategy=how.strategy,
                state=state,
                write=file.write,
                write_state=beside.write,
            )
        return file.made(), beside.made() if how.strategy.keeps else None

    def _recipe(self, base: Path, state: Path | None = None) -> Recipe:
        settings = dict(self._spec["strategy"])
        return Recipe(
            strategy=strategies.build(settings.pop("name"), settings),
            encoding=Encoding(
                codec=self._spec["codec"],
                tensors=rules.averaged(self._ruled),
                base=base,
                others=tuple(constraints.codecs(dict(self._spec))[1:]),
            ),
            rules={name: rule for name, (_, rule) in self._ruled.items()},
            state=state,
            mechanism=None,
        )

    @contextmanager
    def _file(self, kind: str) -> Iterator[_File]:
        self._files += 1
        path = self._folder / f"{kind}-{self._files}"
        with path.open("wb") as raw:
            yield _File(path, raw)


class _File:
    """A file that is hashed as it is written."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self.path = path
        self._raw = raw
        self._hasher = hashlib.sha256()

    def write(self, data: memoryview) -> None:
        self._hasher.update(data)
        self._raw.write(data)

    @property
    def digest(self) -> str:
        return self._hasher.hexdigest()

    def made(self) -> Made:
        return Made(self.path, self.digest)
