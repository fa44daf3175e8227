"""Records to explain and to replay: sampled plans for a day, demand and supply for a week."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import redis

from core import connections
from jobs import holdout
from jobs.models import Round
from scheduling import keys, selectors
from scheduling.models import FleetMinute, PlanRecord, ProfileRecord
from scheduling.publishing import Begun, Publication

SAMPLE_S = 10
PLANS_KEPT = timedelta(days=1)
MINUTES_KEPT = timedelta(days=7)
CATCH_UP = timedelta(hours=1)
"""Redis keeps the supply of single minutes for that long."""
SHOWN = 10
MINUTE = timedelta(minutes=1)


def plan(begun: Begun, publication: Publication, *, now: datetime) -> bool:
    """Keep a published plan if none was kept for some seconds or the policy is another one."""
    client = connections.soft_state()
    chosen = selectors.active_policy() if not client.exists(keys.RECORDED) else None
    if chosen is None:
        return False
    client.set(keys.RECORDED, b"1", ex=SAMPLE_S)
    PlanRecord.objects.bulk_create(
        [
            PlanRecord(
                version=begun.version,
                policy=publication.policy,
                parameters=chosen.parameters if chosen.name == publication.policy else {},
                at=now,
                summary=_summary(publication),
            )
        ],
        ignore_conflicts=True,
    )
    return True


def record_next_plan() -> None:
    """Have the next plan kept: the policy or a share has changed."""
    connections.soft_state().delete(keys.RECORDED)


def minutes(*, now: datetime) -> int:
    """Keep demand and supply of every whole minute since the last one kept; returns how many."""
    end = now.replace(second=0, microsecond=0)
    newest = FleetMinute.objects.order_by("-at").values_list("at", flat=True).first()
    at = end - MINUTE if newest is None else max(newest + MINUTE, end - CATCH_UP)
    if at >= end:
        return 0
    client = connections.soft_state()
    rows = []
    while at < end:
        rows.append(FleetMinute(at=at, supply=_supply(client, at), demand=_demand(at)))
        at += MINUTE
    FleetMinute.objects.bulk_create(rows, ignore_conflicts=True)
    _keep_profiles(client, {key for row in rows for key in row.supply}, now)
    _prune(now)
    return len(rows)


def _summary(publication: Publication) -> dict[str, Any]:
    """Count what was planned; of the first queues, show the rounds that come first."""
    rounds = {one.id: one for one in publication.rounds}
    queues = dict(list(publication.queues.items())[:SHOWN])
    order = {name: list(queue[:SHOWN]) for name, queue in queues.items()}
    shown = {round_id for queue in order.values() for round_id in queue}
    return {
        "rounds": len(rounds),
        "slots": sum(one.free for one in publication.rounds),
        "queues": len(publication.queues),
        "signatures": len(publication.signatures),
        "shuffled": publication.shuffled,
        "room": dict(list(publication.room.items())[:SHOWN]),
        "order": order,
        "jobs": {one: [rounds[one].info["job_id"], rounds[one].free] for one in sorted(shown)},
    }


def _supply(client: redis.Redis, at: datetime) -> dict[str, int]:
    """Return the check-ins of one minute by profile."""
    found: Mapping[Any, Any] = client.hgetall(keys.supply("minute", int(at.timestamp()) // 60))
    return {key.decode(): int(count) for key, count in found.items()}


def _demand(at: datetime) -> dict[str, Any]:
    """Return the rounds that opened in one minute, and the constraints of their groups."""
    opened = Round.objects.filter(opened_at__gte=at, opened_at__lt=at + MINUTE)
    rounds = []
    groups: dict[str, Any] = {}
    for one in opened.select_related("job").order_by("opened_at", "id"):
        groups.setdefault(one.job.constraint_group, one.job.spec["effective"])
        rounds.append(
            {
                "id": str(one.id),
                "job": str(one.job_id),
                "tenant": str(one.tenant_id),
                "group": one.job.constraint_group,
                "kind": one.kind,
                "number": one.number,
                "attempt": one.attempt,
                "count": one.job.spec["rounds"]["count"],
                "demand": one.demand,
                "target": one.target,
                "quorum": one.quorum,
                "priority": one.job.priority,
                "held_out": holdout.fraction_of(one.job.spec),
                "selection_s": one.selection_s,
                "deadline_s": one.deadline_s,
                "after_s": round((one.opened_at - at).total_seconds(), 3),
            }
        )
    return {"rounds": rounds, "groups": groups} if rounds else {}


def _keep_profiles(client: redis.Redis, seen: set[str], now: datetime) -> None:
    """Keep what the profiles of these keys are, each once."""
    if not seen:
        return
    rows = ProfileRecord.objects.filter(key__in=seen)
    present = dict(rows.values_list("key", "seen_at"))
    old = [key for key, at in present.items() if at < now - timedelta(hours=1)]
    ProfileRecord.objects.filter(key__in=old).update(seen_at=now)
    new = sorted(seen - present.keys())
    texts: Iterable[Any] = client.hmget(keys.PROFILES, new) if new else []
    ProfileRecord.objects.bulk_create(
        [
            ProfileRecord(key=key, profile=json.loads(text), seen_at=now)
            for key, text in zip(new, texts, strict=True)
            if text is not None
        ],
        ignore_conflicts=True,
    )


def _prune(now: datetime) -> None:
    PlanRecord.objects.filter(at__lt=now - PLANS_KEPT).delete()
    FleetMinute.objects.filter(at__lt=now - MINUTES_KEPT).delete()
    ProfileRecord.objects.filter(seen_at__lt=now - MINUTES_KEPT - timedelta(days=1)).delete()
