"""Which jobs wait and why, for operators: all of a list at once, and one in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

import redis.exceptions
from django.db.models import Exists, F, OuterRef, Q
from django.template.defaultfilters import pluralize

from jobs import maintenance, quarantine, states
from jobs import selectors as job_selectors
from jobs.models import Job, Maintenance, Round
from scheduling import published, quotas, selectors, supply
from scheduling.explaining import Explanation, Refusal, TenantPart


def that_wait() -> Q:
    """Filter jobs: not admitted, paused or held, short of devices, or between rounds."""
    rounds = Round.objects.filter(job=OuterRef("pk"))
    open_rounds = rounds.filter(status__in=states.OPEN_ROUND)
    asked = maintenance.in_force()
    stopped = asked is not None and asked.mode == Maintenance.Mode.STOPPED
    selecting = rounds.filter(status=Round.Status.SELECTING, assigned__lt=F("target"))
    kept = Q(status__in=[Job.Status.SUBMITTED, Job.Status.PAUSED]) | ~Q(held="")
    short = Exists(open_rounds if stopped else selecting)
    idle = ~Exists(rounds.exclude(status=Round.Status.FINISHED))
    return ~Q(status=Job.Status.FINISHED) & (kept | Q(short) | Q(idle))


def in_brief(jobs: Collection[Job], *, now: datetime) -> dict[UUID, str]:
    """Say of each job why it waits, with the same few queries for any number."""
    rounds = job_selectors.current_rounds(jobs)
    asked, barred = maintenance.in_force(), quarantine.barred_software()
    found = {
        one: quarantine.explained(maintenance.explained(told, asked), barred)
        for one, told in job_selectors.waits(jobs, rounds).items()
    }
    short = [job for job in jobs if found[job.id].code == "waiting_for_devices"]
    behind = _behind(short, rounds, now)
    return {one: "; ".join([told.message, *behind.get(one, ())]) for one, told in found.items()}


def _behind(
    jobs: Collection[Job], rounds: Mapping[UUID, Round], now: datetime
) -> dict[UUID, list[str]]:
    """Return what stands behind waits for devices: the tenant's limit, who fits, who is ahead."""
    if not jobs:
        return {}
    tenants = {job.tenant_id for job in jobs}
    held = job_selectors.bound_by_tenant()
    shares, caps = selectors.shares(tenants), quotas.caps(tenants, now=now)
    places = _places(jobs, rounds)
    found = {}
    for job in jobs:
        share, has = shares.get(job.tenant_id), held.get(job.tenant_id, 0)
        limits = [share.ceiling if share else None, caps.get(job.tenant_id)]
        limit = min((one for one in limits if one is not None), default=None)
        full = limit is not None and has >= limit
        text = [f"its tenant holds {has} of {limit} devices allowed"] if full else []
        found[job.id] = [*text, *places.get(job.id, ())]
    return found


def _places(jobs: Collection[Job], rounds: Mapping[UUID, Round]) -> dict[UUID, list[str]]:
    try:
        online = supply.online()
        idle = supply.by_group(online.idle)
        groups = {rounds[job.id].id: job.constraint_group for job in jobs if job.id in rounds}
        queues = published.ahead_of_each(groups, Counter(online.idle) + Counter(online.busy))
    except redis.exceptions.RedisError:
        return {}  # it alone knows; the rest is still true
    found = {}
    for job in jobs:
        free = idle[job.constraint_group]
        fit = f"{free} devices that fit are" if free > 1 else f"{free or 'no'} device that fits is"
        found[job.id] = [f"{fit} free"]
        queue = queues.get(rounds[job.id].id) if job.id in rounds else None
        if queue is not None and not queue.shuffled:
            ahead = len(queue.ahead)
            found[job.id].append(f"{ahead} round{pluralize(ahead)} ahead" if ahead else "next")
    return found


def in_full(found: Explanation) -> list[tuple[str, str]]:
    """Return what stands behind one job's wait, as terms and sentences."""
    lines = [("Waits", found.message)]
    if found.needed:
        lines += [
            ("Devices", f"{found.needed} more needed; of those that fit its constraints "
                f"{found.idle} connected and free, {found.bound_elsewhere} at other work"),
            ("Place", _place(found)),
            ("Likely", _likely(found)),
        ]  # fmt: skip
    lines += [("Refused", _refused(one)) for one in found.refusals]
    if found.tenant is not None:
        lines.append(("Tenant", _tenant(found.tenant)))
    return lines + [
        ("Ahead", f"{one.job_name} of {one.tenant} ({one.slots} slots, by {one.rule})")
        for one in found.named
    ]


def _place(found: Explanation) -> str:
    if found.position is None:
        place = "none: its rounds are served in no order, or the next plan brings it"
    elif found.position == 1:
        place = "next"
    else:
        place = (
            f"{found.rounds_ahead} round{pluralize(found.rounds_ahead)} ahead with "
            f"{found.slots_ahead} open slot{pluralize(found.slots_ahead)}"
        )
        if found.ahead_by_priority:
            place += f", {found.ahead_by_priority} of them by a higher priority"
    return f"{place}. Policy {found.policy}: {found.rule}"


def _likely(found: Explanation) -> str:
    if found.tenant is not None and found.tenant.is_full:
        return "until devices of its tenant become free"
    if found.likely_s is None:
        return "unknown: no device that fits has checked in during the last hour"
    return f"about {found.likely_s:.0f} s, as devices came in the last hour"


def _refused(one: Refusal) -> str:
    return f"by {one.devices or 'a few'} device{pluralize(one.devices or 2)}: {one.code}"


def _tenant(part: TenantPart) -> str:
    allowed = "" if part.allowed is None else f" of {part.allowed} allowed"
    text = f"holds {part.held}{allowed} device{pluralize(part.held)}"
    if part.of_bound is not None:
        text += f", {100 * part.of_bound:.0f} % of all that are at work"
    if part.of_weights is not None:
        text += f"; by its weight of {part.weight:g} it has a part of {100 * part.of_weights:.0f} %"
    if part.guarantee:
        text += f"; {part.guarantee} guaranteed"
        lent = part.lending_limit
        text += (
            ", all of them lent while idle" if lent is None else f", {lent} of them lent while idle"
        )
    return text
