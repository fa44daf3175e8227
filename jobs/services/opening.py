"""Open rounds, with the numbers that a job's spec asks for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from core import events, hints, knobs
from jobs.models import Job, Round


def open_round(
    job: Job, *, kind: str, number: int, attempt: int, now: datetime, demand: int | None = None
) -> Round:
    """Open a round on the job's newest version. The caller's transaction holds the job.

    ``demand`` is the driver's, if it is not the spec's.
    """
    sizes = job.spec["rounds"]
    if demand is None:
        demand = sizes["demand"] if kind == Round.Kind.TRAIN else job.spec["evaluation"]["demand"]
    if job.granted_demand is not None:
        demand = min(demand, job.granted_demand)
    target, concurrency = over_selected(demand, job.spec), None
    buffer = job.spec["strategy"].get("buffer_size")
    if buffer is not None and kind == Round.Kind.TRAIN:
        demand, target, concurrency = buffer, demand, demand
    opened = Round.objects.create(
        tenant_id=job.tenant_id,
        job=job,
        number=number,
        attempt=attempt,
        kind=kind,
        demand=demand,
        target=target,
        quorum=_quorum(sizes, demand),
        concurrency=concurrency,
        base_version=job.version,
        base_digest=job.parameters_digest,
        base_size=job.parameters_size,
        seed=_seed(job.spec["seed"], kind, number, attempt),
        selection_s=sizes["selection_s"],
        deadline_s=sizes["deadline_s"],
        opened_at=now,
        selection_ends_at=now + timedelta(seconds=sizes["selection_s"]),
    )
    tell("round.opened", opened, now)
    hints.send("scheduling.plan", hints.OPENED, queue="scheduling")
    return opened


def evaluation_quorum(spec: Mapping[str, Any]) -> int:
    """Return the reports that an evaluation round needs at least."""
    return _quorum(spec["rounds"], spec["evaluation"]["demand"])


def _quorum(sizes: Mapping[str, Any], demand: int) -> int:
    cohort: int = max(sizes["min_cohort"], knobs.get().min_cohort)
    return min(demand, max(cohort, _whole(demand * sizes["quorum"])))


def tell(kind: str, round_: Round, now: datetime, **data: Any) -> None:
    events.append(
        kind,
        now=now,
        tenant_id=round_.tenant_id,
        job_id=round_.job_id,
        round_id=round_.id,
        number=round_.number,
        attempt=round_.attempt,
        round_kind=round_.kind,
        **data,
    )


def note(round_: Round, *, code: str, message: str, count: int) -> None:
    """Say in a round's reason what it goes on without, beside what it says of another kind."""
    before = round_.reason.get("message")
    if before and round_.reason["code"] != code:
        message = f"{before}; {message}"
    round_.reason = {"code": code, "message": message, "count": count}
    Round.objects.filter(id=round_.id).update(reason=round_.reason)


def over_selected(demand: int, spec: Mapping[str, Any]) -> int:
    """Return how many devices a round binds so that ``demand`` of them report."""
    return _whole(demand * spec["rounds"]["over_selection"])


def _whole(devices: float) -> int:
    """Round up, but not for the last bits of a product: 100 × 1.1 is 110, not 111."""
    return math.ceil(round(devices, 6))


def _seed(seed: int, kind: str, number: int, attempt: int) -> int:
    """Return the round's own seed, a function of the job's and its place: runs can be repeated."""
    text = f"{seed}:{kind}:{number}:{attempt}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1
