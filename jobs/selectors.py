"""Reads of jobs, rounds and assignments, as frozen values for the planes and the pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Max

from jobs import holdout, states
from jobs.models import Artifact, Assignment, Job, Round


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A round that asks for devices; ``remaining`` = target − assigned, 0 if its job is held."""

    id: UUID
    job_id: UUID
    job_name: str
    tenant_id: UUID
    tenant_slug: str
    group: str
    kind: str
    demand: int
    target: int
    assigned: int
    reported: int
    remaining: int
    quorum: int
    opened_at: datetime
    selection_ends_at: datetime
    deadline_at: datetime
    submitted_at: datetime
    priority: int
    rounds_left: int
    effective: dict[str, Any] = field(repr=False)
    private: dict[str, Any] = field(repr=False)
    workload: dict[str, Any] = field(repr=False)
    holdout: holdout.Rule | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AssignmentDetail:
    """All that a device is told with its assignment."""

    id: UUID
    device_id: UUID
    tenant_id: UUID
    tenant_slug: str
    job_id: UUID
    job_name: str
    round_id: UUID
    number: int
    attempt: int
    kind: str
    status: str
    accepted: bool
    spec: dict[str, Any] = field(repr=False)
    base_version: int
    base_digest: str
    base_size: int
    program_digest: str | None
    program_size: int
    frozen_digest: str | None
    frozen_size: int
    max_update_bytes: int
    seed: int
    round_status: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a job waits for: a code, words for people, and the numbers in them."""

    code: str
    message: str
    numbers: dict[str, Any]


def open_rounds() -> list[OpenRound]:
    """Return the rounds of running jobs that may still bind devices, oldest first."""
    rows = (
        Round.objects.filter(status__in=states.OPEN_ROUND, job__status=Job.Status.RUNNING)
        .select_related("job", "tenant")
        .order_by("opened_at", "id")
    )
    return [_open(row) for row in rows]


def assignment_details(assignment_ids: Iterable[UUID]) -> dict[UUID, AssignmentDetail]:
    """Return what devices are told, by assignment."""
    rows = list(
        Assignment.objects.filter(id__in=list(assignment_ids)).select_related(
            "round", "job", "tenant"
        )
    )
    specs = [row.job.spec for row in rows]
    digests = {digest for spec in specs for digest in _named_blobs(spec)} - {None}
    sizes: dict[tuple[UUID, str], int] = {
        (tenant_id, digest): size
        for tenant_id, digest, size in Artifact.objects.filter(digest__in=digests).values_list(
            "tenant_id", "digest", "size_bytes"
        )
    }
    return {row.id: _detail(row, sizes) for row in rows}


def assignment_for_device(device_id: UUID) -> AssignmentDetail | None:
    """Return what the device holds, if anything."""
    held = Assignment.objects.filter(device_id=device_id, status=Assignment.Status.BOUND).first()
    return assignment_details([held.id]).get(held.id) if held else None


def assignments_for_devices(device_ids: Iterable[UUID]) -> dict[UUID, AssignmentDetail]:
    """Return, by device, what it holds; those that hold nothing are left out."""
    held = Assignment.objects.filter(
        device_id__in=list(device_ids), status=Assignment.Status.BOUND
    ).values_list("id", flat=True)
    found = list(held)
    return {one.device_id: one for one in assignment_details(found).values()} if found else {}


def assignments_known(assignment_ids: Iterable[UUID]) -> set[UUID]:
    """Return those that have a row."""
    return set(Assignment.objects.filter(id__in=list(assignment_ids)).values_list("id", flat=True))


def devices_seen(round_ids: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """Return, by round, every device that has held an assignment of it."""
    seen: dict[UUID, list[UUID]] = {}
    rows = Assignment.objects.filter(round_id__in=list(round_ids))
    for round_id, device_id in rows.values_list("round_id", "device_id"):
        seen.setdefault(round_id, []).append(device_id)
    return seen


def bound_by_tenant() -> dict[UUID, int]:
    """Return how many devices each tenant holds now."""
    rows = Assignment.objects.filter(status=Assignment.Status.BOUND).order_by()
    return dict(rows.values_list("tenant_id").annotate(Count("id")))


def tenants_waiting() -> set[UUID]:
    """Return the tenants whose open rounds have slots that no device is bound to."""
    open_rounds = Round.objects.filter(
        status__in=states.OPEN_ROUND, job__status=Job.Status.RUNNING, assigned__lt=F("target")
    )
    return set(open_rounds.order_by().values_list("tenant_id", flat=True).distinct())


def current_round(job: Job) -> Round | None:
    """Return the job's train round that is not finished, if any."""
    rows = Round.objects.filter(job=job, kind=Round.Kind.TRAIN)
    # Of an asynchronous job the newest: those before it are only being folded.
    return rows.exclude(status=Round.Status.FINISHED).order_by("-id").first()


def current_rounds(jobs: Iterable[Job]) -> dict[UUID, Round]:
    """Return the current train round of each job that has one, in one query."""
    rows = Round.objects.filter(job__in=list(jobs), kind=Round.Kind.TRAIN)
    return {row.job_id: row for row in rows.exclude(status=Round.Status.FINISHED).order_by("id")}


def waiting(job: Job, current: Round | None = None) -> Waiting:
    """Say what a job waits for, in words with numbers. ``current`` saves the look-up."""
    if job.status == Job.Status.FINISHED:
        text = job.reason.get("message", "")
        numbers = {} if job.outcome != Job.Outcome.REJECTED else _numbers(job.reason)
        return Waiting(job.outcome, f"{job.outcome}{': ' + text if text else ''}", numbers)
    if job.held:
        return Waiting("quarantined", job.held, {})
    if job.status == Job.Status.SUBMITTED:
        text = job.reason.get("message", "the program's check and admission")
        return Waiting("waiting_for_admission", f"waiting for {text}", _numbers(job.reason))
    if job.status == Job.Status.PAUSED:
        return Waiting("paused", "paused: no new devices are selected", {})
    round_ = current or current_round(job)
    if round_ is None and job.is_driven:
        last = Round.objects.filter(job=job).aggregate(last=Max("number"))["last"] or 0
        text = f"driven: waiting for its program to start round {last + 1}"
        return Waiting("waiting_for_driver", text, {"round": last + 1})
    if round_ is None:
        return Waiting("evaluating", "waiting for the last evaluation", {})
    return _round_waiting(round_)


def round_waiting(round_: Round) -> Waiting:
    """Say what a round waits for, or how it ended."""
    if round_.status != Round.Status.FINISHED:
        return _round_waiting(round_)
    text = round_.reason.get("message", "")
    return Waiting(round_.outcome, f"{round_.outcome}{': ' + text if text else ''}", {})


def _numbers(reason: dict[str, Any]) -> dict[str, Any]:
    """Return a decision's code and numbers; its words are told beside them."""
    return {name: value for name, value in reason.items() if name != "message"}


def _round_waiting(round_: Round) -> Waiting:
    numbers = {
        "round": round_.number,
        "bound": round_.assigned,
        "reported": round_.reported,
        "demand": round_.demand,
        "target": round_.target,
    }
    if round_.concurrency is not None and round_.status != Round.Status.AGGREGATING:
        return _buffer_waiting(round_, numbers)
    if round_.status == Round.Status.SELECTING:
        text = f"waiting for devices: {round_.assigned} of {round_.target} bound"
        return Waiting("waiting_for_devices", text, numbers)
    if round_.status == Round.Status.EXECUTING:
        text = f"training: {round_.reported} of {round_.demand} devices reported"
        return Waiting("waiting_for_reports", text, numbers)
    return Waiting("aggregating", f"folding {round_.reported} updates", numbers)


def _buffer_waiting(round_: Round, numbers: dict[str, Any]) -> Waiting:
    at_work = round_.assigned - round_.reported
    text = (
        f"asynchronous: {round_.reported} of {round_.demand} updates in the buffer, "
        f"{at_work} of {round_.concurrency} devices at work"
    )
    code = "waiting_for_reports" if at_work else "waiting_for_devices"
    return Waiting(code, text, numbers | {"at_work": at_work, "concurrency": round_.concurrency})


def _named_blobs(spec: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the digests of a job's program and of its frozen tensors."""
    return spec["workload"].get("program"), spec.get("frozen")


def _base(row: Assignment) -> tuple[int, str, int]:
    """Return the version that a device begins from: its own, or else its round's."""
    if row.base_version is None or row.base_size is None:
        return row.round.base_version, row.round.base_digest, row.round.base_size
    return row.base_version, row.base_digest, row.base_size


def _open(row: Round) -> OpenRound:
    spec = row.job.spec
    return OpenRound(
        id=row.id,
        job_id=row.job_id,
        job_name=row.job.name,
        tenant_id=row.tenant_id,
        tenant_slug=row.tenant.slug,
        group=row.job.constraint_group,
        kind=row.kind,
        demand=row.demand,
        target=row.target,
        assigned=row.assigned,
        reported=row.reported,
        remaining=0 if row.job.held else row.target - row.assigned,
        quorum=row.quorum,
        opened_at=row.opened_at,
        selection_ends_at=row.selection_ends_at,
        deadline_at=row.deadline_at or row.selection_ends_at + timedelta(seconds=row.deadline_s),
        submitted_at=row.job.submitted_at,
        priority=row.job.priority,
        rounds_left=max(1, spec["rounds"]["count"] - row.number + 1),
        effective=spec["effective"],
        private=spec["constraints"]["private"],
        workload=spec["workload"],
        holdout=holdout.rule_of(spec, row.job.holdout_key, kind=row.kind),
    )


def _detail(row: Assignment, sizes: dict[tuple[UUID, str], int]) -> AssignmentDetail:
    spec = row.job.spec
    program, frozen = _named_blobs(spec)
    ends_at = row.round.deadline_at or row.round.selection_ends_at
    base_version, base_digest, base_size = _base(row)
    return AssignmentDetail(
        id=row.id,
        device_id=row.device_id,
        tenant_id=row.tenant_id,
        tenant_slug=row.tenant.slug,
        job_id=row.job_id,
        job_name=row.job.name,
        round_id=row.round_id,
        number=row.round.number,
        attempt=row.round.attempt,
        kind=row.round.kind,
        status=row.status,
        accepted=row.accepted_at is not None,
        spec=spec,
        base_version=base_version,
        base_digest=base_digest,
        base_size=base_size,
        program_digest=program,
        program_size=sizes.get((row.tenant_id, program), 0) if program else 0,
        frozen_digest=frozen,
        frozen_size=sizes.get((row.tenant_id, frozen), 0) if frozen else 0,
        max_update_bytes=spec["max_update_bytes"] or base_size + (1 << 20),
        seed=row.round.seed,
        round_status=row.round.status,
        ends_at=ends_at,
    )
