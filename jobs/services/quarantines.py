"""The operator keeps a job, a workload or a version of the software from all devices.

The jobs that are meant carry the reason in ``held``, which planner and binding look at. A sweep
finds those that were submitted meanwhile. No round fails by it: time does not count against
rounds that are held, and begins anew once they are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from core import events, hints, reasons
from core.errors import Invalid
from jobs import quarantine
from jobs.models import Assignment, Job, Quarantine, Round
from jobs.services import clocks, slots
from tenants import services as tenant_services

CODE = "quarantined"
_SOFTWARE = re.compile(r"[^\s/]+[ /]\S+")


class QuarantineInvalid(Invalid):
    """Nothing that could be kept from devices, no reason, or it is kept from them already."""

    code = "quarantine_invalid"


@transaction.atomic
def put_in_quarantine(
    *, kind: str, target: str, reason: str, author: str, now: datetime
) -> Quarantine:
    """Offer it to no device from now on, and call back those at work. Raises QuarantineInvalid."""
    target = target.strip()
    QuarantineInvalid.check(_faults(kind, target) | reasons.faults(reason))
    try:
        with transaction.atomic():
            made = Quarantine.objects.create(
                kind=kind, target=target, reason=reason, author=author, created_at=now
            )
    except IntegrityError:
        text = f"{target!r} is in quarantine already: lift that first"
        raise QuarantineInvalid(text, errors={"target": text}) from None
    _audit("quarantine.put", made, author, now)
    if kind == Quarantine.Kind.SDK:
        _settle(now=now, barred=quarantine.barred_software())
        hints.to_gateways({"software": True})
    else:
        _settle(now=now)
    return made


@transaction.atomic
def lift(*, quarantine_id: int, author: str, now: datetime) -> Quarantine:
    """Offer it to devices again. Raises QuarantineInvalid: it has been lifted."""
    row = Quarantine.objects.get(id=quarantine_id)
    open_rows = Quarantine.objects.filter(id=quarantine_id, lifted_at=None)
    if not open_rows.update(lifted_by=author, lifted_at=now):
        raise QuarantineInvalid(f"{row.target!r} was lifted by {row.lifted_by}")
    _audit("quarantine.lift", row, author, now)
    _settle(now=now)
    if row.kind == Quarantine.Kind.SDK:
        hints.to_gateways({"software": True})
        hints.send("scheduling.plan", queue="scheduling")
    row.refresh_from_db()
    return row


def again(*, quarantine_id: int, author: str, now: datetime) -> Quarantine:
    """Put what was lifted in quarantine once more. Raises QuarantineInvalid."""
    old = Quarantine.objects.get(id=quarantine_id)
    return put_in_quarantine(
        kind=old.kind,
        target=old.target,
        reason=reasons.of_revert("quarantine", old, old.reason),
        author=author,
        now=now,
    )


def keep(*, now: datetime) -> None:
    """Keep what is in force: find jobs that came meanwhile, and what was on its way.

    Each step is a transaction: in one, the rounds of the next would be locked in any order.
    """
    if not _settle(now=now):
        return
    bound = Assignment.objects.filter(status=Assignment.Status.BOUND).exclude(job__held="")
    for job_id, message in bound.order_by().values_list("job_id", "job__held").distinct():
        with transaction.atomic():
            slots.call_back(bound.filter(job_id=job_id), code=CODE, message=message, now=now)
    for software, message in quarantine.barred_software().items():
        with transaction.atomic():
            theirs = Assignment.objects.filter(device__sdk=software)
            slots.call_back(theirs, code=CODE, message=message, now=now)
    with transaction.atomic():
        clocks.put_off(Round.objects.exclude(job__held=""), now=now)


@transaction.atomic
def _settle(*, now: datetime, barred: Mapping[str, str] | None = None) -> bool:
    """Have each job carry why it is held, if it is; tells whether anything is in quarantine.

    What runs on ``barred`` software is called back with it: all under locks taken at once.
    """
    rows = quarantine.in_force()
    jobs = [one.target for one in rows if one.kind == Quarantine.Kind.JOB]
    named = [one.target for one in rows if one.kind == Quarantine.Kind.WORKLOAD]
    meant = Q(id__in=jobs) | Q(spec__workload__program__in=named)
    meant |= Q(spec__workload__handler__in=named) | ~Q(held="")
    found = Job.objects.exclude(status=Job.Status.FINISHED).filter(meant)
    changed = [job.id for job in found if job.held != _held_by(job, rows)]
    barred = barred or {}
    locked = _lock(changed, barred) if changed or barred else _Locked()
    if changed:
        _hold(locked, now=now)
    for software, message in barred.items():
        theirs = locked.bound().filter(device__sdk=software)
        slots.call_back(theirs, code=CODE, message=message, now=now)
    return bool(rows)


def _held_by(job: Job, rows: list[Quarantine]) -> str:
    return quarantine.held_by(job.id, job.spec["workload"], rows)


@dataclass(frozen=True, slots=True)
class _Locked:
    """What a change may move, and all that it may: another lock would be out of order."""

    round_ids: tuple[UUID, ...] = ()
    jobs: tuple[Job, ...] = ()
    assignment_ids: tuple[UUID, ...] = ()

    def rounds(self) -> QuerySet[Round]:
        return Round.objects.filter(id__in=self.round_ids)

    def bound(self) -> QuerySet[Assignment]:
        return Assignment.objects.filter(id__in=self.assignment_ids)


def _lock(job_ids: list[UUID], software: Iterable[str]) -> _Locked:
    """Lock rounds by id, then jobs, then what devices hold by id: each kind once, for all jobs.

    What opens or is bound meanwhile is left to the sweep.
    """
    meant = Q(job_id__in=job_ids) | Q(device__sdk__in=list(software))
    bound = Assignment.objects.filter(meant, status=Assignment.Status.BOUND)
    unfinished = Round.objects.exclude(status=Round.Status.FINISHED)
    rounds = unfinished.filter(Q(job_id__in=job_ids) | Q(id__in=bound.values("round_id")))
    round_ids = tuple(one.id for one in rounds.order_by("id").select_for_update(no_key=True))
    jobs = Job.objects.filter(id__in=job_ids).exclude(status=Job.Status.FINISHED)
    held = tuple(jobs.order_by("id").select_for_update(no_key=True))
    mine = bound.filter(round_id__in=round_ids).order_by("id")
    theirs = mine.select_for_update(no_key=True, of=("self",))
    return _Locked(round_ids, held, tuple(one.id for one in theirs))


def _hold(locked: _Locked, *, now: datetime) -> None:
    """Change what is held, and tell of it."""
    # Again, now that nobody else can: it may have been put in, or lifted, since it was read.
    rows = quarantine.in_force()
    for job in locked.jobs:
        after = _held_by(job, rows)
        if after == job.held:
            continue
        Job.objects.filter(id=job.id).update(held=after)
        if after:
            mine = locked.bound().filter(job_id=job.id)
            slots.call_back(mine, code=CODE, message=after, now=now)
        else:
            clocks.begin_anew(locked.rounds().filter(clocks.wanting(), job_id=job.id), now=now)
        if bool(after) != bool(job.held):
            events.append(
                "job.quarantined" if after else "job.released",
                now=now, tenant_id=job.tenant_id, job_id=job.id,
            )  # fmt: skip
        else:
            events.changed(tenant_id=job.tenant_id, job_id=job.id, kind="job.quarantined")
    hints.send("scheduling.plan", queue="scheduling")


def _faults(kind: str, target: str) -> dict[str, str]:
    if kind not in Quarantine.Kind.values:
        return {"kind": f"{kind!r}; allowed are {', '.join(Quarantine.Kind.values)}"}
    if not 1 <= len(target) <= 100 or not target.isprintable():
        return {"target": f"{len(target)} characters; 1 to 100 printable ones are allowed"}
    if kind == Quarantine.Kind.JOB:
        return {} if _is_unfinished(target) else {"target": f"{target!r}; the id of a job that "
            "has not finished is allowed"}  # fmt: skip
    if kind == Quarantine.Kind.SDK and not _SOFTWARE.fullmatch(target):
        return {"target": f"{target!r}; a name and a version as devices tell them, "
            "like 'propius-python/0.1.0', are allowed"}  # fmt: skip
    return {}


def _is_unfinished(target: str) -> bool:
    try:
        rows = Job.objects.filter(id=UUID(target)).exclude(status=Job.Status.FINISHED)
    except ValueError:
        return False
    return str(UUID(target)) == target and rows.exists()


def _audit(action: str, row: Quarantine, author: str, now: datetime) -> None:
    tenant_id = None
    if row.kind == Quarantine.Kind.JOB:
        jobs = Job.objects.filter(id=row.target).values_list("tenant_id", flat=True)
        tenant_id = jobs.first()  # it may be gone by the time that it is lifted
    tenant_services.audit(
        tenant_id=tenant_id, actor=author, action=action, target=row.target, now=now,
        kind=row.kind, reason=row.reason,
    )  # fmt: skip
