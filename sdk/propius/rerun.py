"""Runs a job of simulated devices again from its manifest: the same cohorts, the same bits.

A device's work follows from the job, the round's seed, and the fleet's seed and data; one thread
each, so that no sum is taken in another order. Sums and steps are made by the platform's own code,
in the order in which they were made first. What the manifest and the fleet's journal cannot tell
again is refused in words: see :mod:`propius.rerun_checks`.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from propius import wire
from propius.agent import workloads
from propius.agent.events import Finished
from propius.agent.trainer import TrainingError
from propius.agent.workloads import Workloads
from propius.fleet import compute, journal, population
from propius.fleet.clock import Clock
from propius.fleet.compute import BadFleet, Compute, Outcome
from propius.fleet.journal import Journal
from propius.fleet.shelf import Shelf
from propius.manifest import Manifest, ManifestBlob, ManifestMember, ManifestRound, told_to_train
from propius.rerun_checks import CannotRerun, check

ENGINE = "aggregation.refolding"


@dataclass(frozen=True, slots=True)
class Files:
    """What a job names by digest."""

    parameters: Path
    program: Path | None = None
    frozen: Path | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One round run again: whether it gave the same bits, and if not where it first differs."""

    number: int
    version: int
    same: bool
    digest: str
    detail: str = ""


class _DiffersError(Exception):
    """The round is another one; the text says where."""


def engine(folder: Path) -> Any:
    """Return the platform's folding code. Raises CannotRerun if it is not in ``folder``."""
    if (folder / "aggregation").is_dir():
        sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module(ENGINE)
    except ImportError as error:
        raise CannotRerun(
            f"updates are folded by the platform's own code, which is not in {folder} ({error}); "
            "name a checkout of the platform with what it requires installed: --platform FOLDER"
        ) from error


async def run(
    manifest: Manifest,
    fleet: Journal,
    files: Files,
    *,
    platform: Path,
    data: Path | None = None,
    handlers: Path | None = None,
) -> AsyncIterator[Compared]:
    """Run the rounds again one after the other, until one differs.

    Raises
    ------
    CannotRerun
        Something is missing.
    TrainingError
        A device's work failed, which it did not the first time.
    """
    rounds, made = check(manifest, fleet), fleet.made
    data = data or (Path(made.data) if made.data else None)
    handlers = handlers or (Path(made.handlers) if made.handlers else None)
    if made.compute == "real":
        _check_data(data, made.data_digest)
    how = engine(platform)
    with tempfile.TemporaryDirectory(prefix="propius-rerun-") as name:
        folder = Path(name)
        shelf = Shelf(folder)
        for file in (files.parameters, files.program, files.frozen):
            if file is not None:
                shutil.copyfile(file, shelf.path(journal.digest_of(file)))
        async with AsyncExitStack() as stack:
            again = _Again(
                manifest,
                fleet,
                shelf,
                how.Refolding(manifest.spec, files.parameters, files.program, folder),
                await stack.enter_async_context(_work(made, shelf, data, handlers)),
            )
            for one in rounds:
                found = await again.round(one)
                if not found.same:
                    yield _with_releases(found, one, fleet, how)
                    return
                yield found


def _work(
    made: journal.Made, shelf: Shelf, data: Path | None, handlers: Path | None
) -> compute.Working:
    """Return what stands in for training, as the fleet had it."""
    if made.compute != "real":
        return compute.idle(shelf, Clock(1.0, start_s=0.0))
    offered = workloads.load(handlers) if handlers else Workloads({}, programs=True)
    return compute.real(shelf, offered, data=data, handlers=handlers, seed=made.seed)


def _check_data(data: Path | None, digest: str | None) -> None:
    if data is None or not data.is_file():
        raise CannotRerun(f"the devices' data are needed, and {data} is no file: --data FILE.npz")
    found = journal.digest_of(data)
    if found != digest:
        raise CannotRerun(f"{data} has SHA-256 {found}; the fleet trained on {digest}")


class _Again:
    """The job, one round after the other."""

    def __init__(
        self, manifest: Manifest, fleet: Journal, shelf: Shelf, folding: Any, work: Compute
    ) -> None:
        self._manifest = manifest
        self._fleet = fleet
        self._shelf = shelf
        self._folding = folding
        self._work = work
        self._version = 0
        self._digest = manifest.parameters.digest
        self._state: Path | None = None

    async def round(self, one: ManifestRound) -> Compared:
        """Run one round again."""
        version = one.version
        assert version is not None, "check() chose it"
        try:
            self._check(one)
            made, state = await self._made(one)
            _same(f"version {version.number}", made.digest, version.digest)
            _same("the strategy's state", state.digest if state else "", version.state)
        except _DiffersError as error:
            return Compared(one.number, version.number, False, version.digest, str(error))
        self._shelf.path(self._digest).unlink()
        if self._state is not None:
            self._state.unlink()
        made.path.replace(self._shelf.path(made.digest))
        self._version, self._digest = version.number, made.digest
        self._state = state.path if state else None
        return Compared(one.number, version.number, True, made.digest)

    def _check(self, one: ManifestRound) -> None:
        """Find what cannot be so before anybody trains."""
        spec = self._manifest.spec
        if (one.base_version, one.base_digest) != (self._version, self._digest):
            raise _DiffersError(
                f"it says that it began from version {one.base_version} ({one.base_digest}); "
                f"the one before it is version {self._version} ({self._digest})"
            )
        train = spec["workload"].get("train")
        sent = told_to_train(train, one.number) if train is not None else None
        told = (one.sent.codec, one.sent.train, one.sent.config)
        wanted = (spec["codec"], sent, spec["workload"].get("config"))
        if told != wanted:
            raise _DiffersError(f"it says that devices were told {told}; its spec gives {wanted}")
        covered = [number for part in one.batches for number in range(part.first, part.last + 1)]
        if covered != list(range(1, len(one.cohort) + 1)):
            raise _DiffersError(
                f"its batches hold the reports {covered}; its cohort has {len(one.cohort)}"
            )

    async def _made(self, one: ManifestRound) -> tuple[Any, Any]:
        """Train the cohort, fold its updates, make the step."""
        base, parts, others = self._shelf.path(self._digest), [], []
        trained: list[Path] = []
        for batch in one.batches:
            reports = []
            for member in one.cohort[batch.first - 1 : batch.last]:
                done = await self._trained(one, member)
                assert done.update is not None
                found, noted = done.finished, self._fleet.done[member.assignment]
                if found.digest != noted.update:
                    others.append(f"device {noted.device} ({member.device})")
                if done.is_own:
                    trained.append(done.update)
                reports.append((done.update, found.weight, found.metrics))
            part = self._folding.fold(base, reports)
            _same(f"the sum of batch {batch.number}", part.digest, batch.partial, others)
            parts.append(part)
        made = self._folding.step(base, self._state, parts)
        for path in [*trained, *(part.path for part in parts)]:
            path.unlink()
        return made  # type: ignore[no-any-return]

    async def _trained(self, one: ManifestRound, member: ManifestMember) -> Outcome:
        made, number = self._fleet.made, self._fleet.done[member.assignment].device
        phone = population.draw(population.chance(made.seed, number))
        try:
            done = await self._work.run(
                population.name_of(number), phone, self._assignment(one, member)
            )
        except TrainingError as error:
            raise _DiffersError(f"device {number} ({member.device}) failed: {error}") from error
        assert isinstance(done.finished, Finished)
        return done

    def _assignment(self, one: ManifestRound, member: ManifestMember) -> wire.Assignment:
        job = self._manifest
        size = self._shelf.path(self._digest).stat().st_size
        return wire.Assignment(
            id=member.assignment, job=job.job, job_name=job.name, tenant=job.tenant, round=one.id,
            number=one.number, attempt=one.attempt, kind="train", workload=job.spec["workload"],
            constraints={}, parameters=wire.Blob(digest=self._digest, size_bytes=size),
            codec=one.sent.codec, max_update_bytes=one.sent.max_update_bytes, seed=one.seed,
            start_s=10.0, lease_s=30.0, deadline_s=one.sent.deadline_s, ticket="",
            program=_blob(job.program), frozen=_blob(job.frozen),
        )  # fmt: skip


def _blob(one: ManifestBlob | None) -> wire.Blob | None:
    return wire.Blob(digest=one.digest, size_bytes=one.size_bytes) if one else None


def _same(what: str, found: str, wanted: str, others: Sequence[str] = ()) -> None:
    if found != wanted:
        whose = f"; the first update that is another is that of {others[0]}" if others else ""
        raise _DiffersError(f"{what} is {found or 'empty'} here, {wanted or 'empty'} there{whose}")


def _with_releases(found: Compared, one: ManifestRound, fleet: Journal, how: Any) -> Compared:
    """Add what this machine has otherwise than those that made the bits."""
    assert one.version is not None
    told = []
    for who, there, here in (
        ("the platform", one.version.made_with, how.made_with()),
        ("the fleet", fleet.made.made_with, journal.made_with()),
    ):
        told += [
            f"{who} had {name} {value}, here it is {here.get(name, 'missing')}"
            for name, value in there.items()
            if here.get(name) != value
        ]
    words = "; ".join([found.detail, *told])
    return Compared(found.number, found.version, False, found.digest, words)


__all__ = ["BadFleet", "CannotRerun", "Compared", "Files", "check", "run"]
