"""The console's front page: what the fleet does now, what is in force, what needs a look."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import redis.exceptions
from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from aggregation import selectors as aggregation_selectors
from clients.models import Device
from jobs import maintenance, quarantine
from jobs.models import Assignment, Job, Round
from scheduling import selectors, supply, waits
from tenants.models import Delivery

FULL = 0.1
"""The part of the disk below which the alert DiskFull fires, too."""
FAILING = timedelta(days=1)
TRIED = 3
STALE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence, and the page behind it; who may see the model (app.Model) may see the line."""

    text: str
    model: str
    query: str = ""
    term: str = ""
    why: str = ""
    urgent: bool = True

    @property
    def link(self) -> str:
        """The address of the page."""
        where = reverse(f"admin:{self.model.lower().replace('.', '_')}_changelist")
        return f"{where}?{self.query}" if self.query else where

    def may(self, request: HttpRequest) -> bool:
        """Tell whether the person may see it."""
        app, _, name = self.model.lower().partition(".")
        return any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))


def context(request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    """Add what the front page shows to what the console gives each page."""
    now = timezone.now()
    online: supply.Online | None = None
    plan: selectors.PlanState | None = None
    with contextlib.suppress(redis.exceptions.RedisError):  # what needs a look says so
        online, plan = supply.online(), selectors.plan_state()
    waiting = Job.objects.filter(waits.that_wait()).count()
    parts = {
        "now": _now(online, waiting),
        "in_force": _in_force(),
        "look": _look(online, plan, waiting, now),
    }
    shown = {name: [one for one in lines if one.may(request)] for name, lines in parts.items()}
    return given | shown | {"title": "Now", "at": now}


def _now(online: supply.Online | None, waiting: int) -> Iterator[Line]:
    devices = Device.objects.filter(status=Device.Status.ACTIVE).count()
    bound = Assignment.objects.filter(status=Assignment.Status.BOUND).count()
    unfinished = Job.objects.exclude(status=Job.Status.FINISHED).count()
    model = "clients.Device"
    if online is not None:
        idle = sum(online.idle.values())
        yield Line(f"{online.sockets:,}", model, term="Online", why=f"of {devices:,} devices")
        yield Line(f"{idle:,}", model, term="Idle", why="connected, with nothing to do")
    yield Line(
        f"{bound:,}", "jobs.Assignment", "status__exact=bound", "Bound", "at work for a round"
    )
    yield Line(
        f"{unfinished - waiting:,}", "jobs.Job", "status__exact=running", "Jobs at work",
        f"of {unfinished:,} that have not finished",
    )  # fmt: skip
    yield Line(f"{waiting:,}", "scheduling.WaitingJob", term="Jobs waiting", why="and why")


def _in_force() -> Iterator[Line]:
    policy = selectors.active_policy()
    given = ", ".join(f"{name} = {value}" for name, value in policy.parameters.items())
    yield Line(
        f"{policy.name}: {given}" if given else policy.name,
        "scheduling.SharingPolicy", term="Policy",
        why=_who(policy.author, policy.since, policy.reason),
    )  # fmt: skip
    asked = maintenance.in_force()
    yield Line(
        "none: devices are bound" if asked is None else asked.message,
        "jobs.Maintenance", term="Maintenance",
        why="" if asked is None else _who(asked.author, asked.created_at, ""),
    )  # fmt: skip


def _who(author: str, at: datetime | None, reason: str) -> str:
    if at is None:
        return "the default; nobody has chosen yet"
    text = f"by {author}, {at:%Y-%m-%d %H:%M} UTC"
    return f"{text}: {reason}" if reason else text


def _look(
    online: supply.Online | None, plan: selectors.PlanState | None, waiting: int, now: datetime
) -> Iterator[Line]:
    """Find what is wrong, what stops most first."""
    if online is None:
        yield Line("Redis does not answer: nothing is bound", "scheduling.GatewayDrain")
    elif not online.gateways:
        yield Line("No gateway is alive: no device can be bound", "scheduling.GatewayDrain")
    if online is not None and waiting and (plan is None or now - plan.at > STALE):
        yield Line(
            f"Jobs wait and no plan was published for {STALE.seconds} s", "scheduling.PlanRecord"
        )
    for leaf in aggregation_selectors.silent_leaves(now=now):
        heard = f"since {leaf.heard_at:%Y-%m-%d %H:%M} UTC" if leaf.heard_at else "from the start"
        yield Line(f"The leaf {leaf.name} has been silent {heard}", "aggregation.Leaf")
    disk = shutil.disk_usage(settings.PROPIUS_HOME)
    if disk.free < FULL * disk.total:
        text = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.0f} GB of the disk are free"
        yield Line(text, "aggregation.Blob")
    yield from _of_rows(now)


def _of_rows(now: datetime) -> Iterator[Line]:
    hour = now - timedelta(hours=1)
    failed = Round.objects.filter(closed_at__gt=hour, outcome=Round.Outcome.FAILED).count()
    if failed:
        asked = {"outcome__exact": "failed", "closed_at__gt": f"{hour:%Y-%m-%d %H:%M:%S+00:00}"}
        text = f"{_count(failed, 'round')} failed in the last hour"
        yield Line(text, "jobs.Round", urlencode(asked))
    late = Q(status=Delivery.Status.WAITING, attempts__gte=TRIED)
    lost = Delivery.objects.filter(webhook__deleted_at=None, created_at__gt=now - FAILING)
    lost = lost.filter(late | Q(status=Delivery.Status.FAILED))
    if (hooks := lost.values("webhook").distinct().count()) > 0:
        yield Line(f"{_count(hooks, 'webhook')} did not arrive since yesterday", "tenants.Delivery")
    if (held := len(quarantine.in_force())) > 0:
        text = f"{_count(held, 'quarantine')} in force"
        yield Line(text, "jobs.Quarantine", "lifted_at__isempty=1", urgent=False)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
