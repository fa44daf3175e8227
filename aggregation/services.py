"""Accept what devices send back: one transaction makes an update a row with its place in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

import jobs.services
from aggregation import blobs, holds, ownership, results
from aggregation.models import Batch, Update
from aggregation.uploads import UpdateRefused
from core import hints, knobs
from core.errors import PropiusError
from jobs.models import Assignment, Round
from propius.strategies import STEPS


@dataclass(frozen=True, slots=True)
class Accepted:
    """The update is counted. ``already``: it was before, this was a repeat."""

    sequence: int
    already: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """An update whose bytes are durable; fields as :func:`accept_update` takes them."""

    assignment_id: UUID
    device_id: UUID
    digest: str
    size_bytes: int
    weight: float
    metrics: Mapping[str, float]


def accept_updates(*, arrived: Sequence[Arrived], now: datetime) -> list[Accepted | PropiusError]:
    """Count train updates in the order given, each as :func:`accept_update` would.

    Mostly in one transaction: a round's devices tend to end at the same moment, and each alone
    would wait for the round's lock and a commit of its own.
    """
    answers = _accept_together(arrived, now)
    for one in arrived:
        if one.assignment_id not in answers:
            try:
                answers[one.assignment_id] = accept_update(**dataclasses.asdict(one), now=now)
            except PropiusError as error:
                answers[one.assignment_id] = error
    return [answers[one.assignment_id] for one in arrived]


@transaction.atomic
def _accept_together(
    arrived: Sequence[Arrived], now: datetime
) -> dict[UUID, Accepted | PropiusError]:
    """Count what is new, of train rounds and in order; leave the rest to be counted alone."""
    repeated = set(
        Update.objects.filter(assignment_id__in=[one.assignment_id for one in arrived]).values_list(
            "assignment_id", flat=True
        )
    )
    answers: dict[UUID, Accepted | PropiusError] = {}
    new: dict[UUID, Arrived] = {}
    bounds = _steps_of(arrived)
    for one in arrived:
        fault = _fault_of(one, bounds.get(one.assignment_id))
        if fault is not None:
            answers[one.assignment_id] = fault
        elif one.assignment_id not in repeated:
            new[one.assignment_id] = one
    reports = [jobs.services.Report(one.assignment_id, one.device_id) for one in new.values()]
    reported = jobs.services.report_many(reports=reports, kind=Round.Kind.TRAIN, now=now)
    counted: list[tuple[Arrived, jobs.services.Reported]] = []
    for identifier, found in reported.items():
        if isinstance(found, jobs.services.Reported):
            counted.append((new[identifier], found))
            answers[identifier] = Accepted(sequence=found.sequence, already=False)
        elif not isinstance(found, jobs.services.AlreadyReported):
            answers[identifier] = found
    _store(counted, now)
    return answers


def _fault_of(one: Arrived, steps: results.Steps | None) -> PropiusError | None:
    try:
        results.check(one.weight, one.metrics, steps)
        blobs.store().path(one.digest)
    except PropiusError as error:
        return error
    return None


def _steps_of(arrived: Sequence[Arrived]) -> dict[UUID, results.Steps]:
    """Return the bound on local steps of those whose job's strategy goes by them."""
    telling = [one.assignment_id for one in arrived if STEPS in one.metrics]
    if not telling:
        return {}
    rows = Assignment.objects.filter(
        id__in=telling, job__spec__strategy__name__in=sorted(results.NORMALISED)
    ).values_list("id", "job__spec__workload__train")
    return {identifier: results.steps_of(train or {}) for identifier, train in rows}


def _store(counted: Sequence[tuple[Arrived, jobs.services.Reported]], now: datetime) -> None:
    """Make the rows of updates that have their places in order."""
    counted = sorted(counted, key=lambda one: (one[1].round.id, one[1].sequence))
    ownership.claim_many(
        [(found.round.tenant_id, one.digest, one.size_bytes) for one, found in counted], now=now
    )
    rows, full, newest = [], set(), dict[UUID, Batch]()
    for one, found in counted:
        round_ = found.round
        batch = newest.get(round_.id)
        if batch is None or found.sequence > batch.last:
            batch = newest[round_.id] = _batch_for(round_, found.sequence)
        if found.sequence == batch.last and not found.closed:
            full.add(round_.id)
        rows.append(_row(one, found, batch, now))
    Update.objects.bulk_create(rows)
    for round_id in full:  # the close of a round hints by itself
        hints.send("aggregation.fold", str(round_id), queue="aggregation")


def _row(one: Arrived, found: jobs.services.Reported, batch: Batch, now: datetime) -> Update:
    return Update(
        tenant_id=found.round.tenant_id,
        round=found.round,
        assignment_id=one.assignment_id,
        sequence=found.sequence,
        batch=batch,
        digest=one.digest,
        size_bytes=one.size_bytes,
        weight=one.weight,
        metrics=dict(one.metrics),
        accepted_at=now,
    )


@transaction.atomic
def accept_update(
    *,
    assignment_id: UUID,
    device_id: UUID,
    digest: str,
    size_bytes: int,
    weight: float,
    metrics: Mapping[str, float],
    now: datetime,
) -> Accepted:
    """Count a train update whose bytes ``UploadSink.finish`` has made durable.

    A repeat for the same assignment is accepted again and changes nothing.

    Raises jobs.services' StaleAssignment, RoundClosed, AssignmentOver; UpdateRefused; BlobMissing.
    """
    one = Arrived(
        assignment_id=assignment_id,
        device_id=device_id,
        digest=digest,
        size_bytes=size_bytes,
        weight=weight,
        metrics=metrics,
    )
    results.check(weight, metrics, _steps_of([one]).get(assignment_id))
    reported = _report(assignment_id, device_id, Round.Kind.TRAIN, now)
    if isinstance(reported, Accepted):
        return reported
    blobs.store().path(digest)
    _store([(one, reported)], now)
    return Accepted(sequence=reported.sequence, already=False)


@transaction.atomic
def accept_report(
    *,
    assignment_id: UUID,
    device_id: UUID,
    weight: float,
    metrics: Mapping[str, float],
    now: datetime,
) -> Accepted:
    """Count the scalars of an evaluation; a repeat changes nothing.

    Raises as :func:`accept_update`.
    """
    results.check(weight, metrics)
    reported = _report(assignment_id, device_id, Round.Kind.EVALUATE, now)
    if isinstance(reported, Accepted):
        return reported
    Update.objects.create(
        tenant_id=reported.round.tenant_id,
        round=reported.round,
        assignment_id=assignment_id,
        sequence=reported.sequence,
        weight=weight,
        metrics=dict(metrics),
        accepted_at=now,
    )
    return Accepted(sequence=reported.sequence, already=False)


def already_accepted(*, assignment_id: UUID, device_id: UUID, now: datetime) -> bool:
    """Tell whether this device's report of this assignment is counted already, or held."""
    return _earlier(assignment_id, device_id) is not None or holds.is_held(
        assignment_id=assignment_id, device_id=device_id, now=now
    )


def _earlier(assignment_id: UUID, device_id: UUID) -> Accepted | None:
    found = Update.objects.filter(assignment_id=assignment_id, assignment__device_id=device_id)
    sequence = found.values_list("sequence", flat=True).first()
    return None if sequence is None else Accepted(sequence=sequence, already=True)


def _report(
    assignment_id: UUID, device_id: UUID, kind: str, now: datetime
) -> jobs.services.Reported | Accepted:
    """Take a place in the round's order, or find the one that the device has already."""
    earlier = _earlier(assignment_id, device_id)
    if earlier is not None:
        return earlier
    try:
        reported = jobs.services.report(assignment_id=assignment_id, device_id=device_id, now=now)
    except jobs.services.AlreadyReported:
        # Another connection of the device was faster, and has committed by now; or a leaf holds it.
        earlier = _earlier(assignment_id, device_id)
        if earlier is not None:
            return earlier
        reported = holds.take_over(assignment_id=assignment_id, device_id=device_id, now=now)
    _check_kind(reported.round, kind)
    return reported


def _batch_for(round_: Round, sequence: int) -> Batch:
    """Return the batch of a sequence number, new if it is the first there.

    report() holds the round's lock, so no other transaction numbers batches now.
    """
    newest = Batch.objects.filter(round=round_).order_by("-number").first()
    if newest is not None and sequence <= newest.last:
        return newest
    return Batch.objects.create(
        tenant_id=round_.tenant_id,
        round=round_,
        number=newest.number + 1 if newest else 0,
        first=sequence,
        last=sequence + knobs.get().fold_batch - 1,
    )


def _check_kind(round_: Round, wanted: str) -> None:
    if round_.kind != wanted:
        sent = (
            "an update with tensors" if wanted == Round.Kind.TRAIN else "a report without tensors"
        )
        raise UpdateRefused(
            "wrong_kind", f"{sent} was sent, and this is a round of kind {round_.kind}"
        )
