"""How a job's model came to be, from the rows, round by round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aggregation.models import ModelVersion, Partial, Update
from clients.selectors import pseudonym
from jobs.models import Artifact, Job, Round
from propius.manifest import (
    ManifestBatch,
    ManifestBlob,
    ManifestMember,
    ManifestPolicy,
    ManifestRound,
    ManifestSent,
    ManifestVersion,
    told_to_train,
)

MOST_ROUNDS = 50
MOST_MEMBERS = 20_000
"""So much of a job's rounds and of their cohorts is told at a time."""


@dataclass(slots=True)
class _Folded:
    """What the rows have of the rounds told, by round."""

    cohorts: dict[UUID, list[ManifestMember]] = field(default_factory=lambda: defaultdict(list))
    batches: dict[UUID, list[ManifestBatch]] = field(default_factory=lambda: defaultdict(list))
    weights: dict[UUID, float] = field(default_factory=lambda: defaultdict(float))
    versions: dict[UUID, ModelVersion] = field(default_factory=dict)


def page(job: Job, *, after: UUID | None) -> tuple[list[Round], bool]:
    """Return the rounds that opened after one, oldest first, and whether there are more."""
    rows = Round.objects.filter(job=job).order_by("id")
    if after is not None:
        rows = rows.filter(id__gt=after)
    found = list(rows[: MOST_ROUNDS + 1])
    members = 0
    for count, one in enumerate(found):
        members += one.reported
        if count == MOST_ROUNDS or (count and members > MOST_MEMBERS):
            return found[:count], True
    return found, False


def rounds(
    job: Job, rows: Sequence[Round], policies_of: Callable[[Round], list[ManifestPolicy]]
) -> list[ManifestRound]:
    """Tell of rounds, each with its cohort and its fold if it was released."""
    found = _folded(job, [one.id for one in rows if one.outcome == Round.Outcome.COMPLETED])
    return [_round(job, one, found, policies_of(one)) for one in rows]


def blobs(job: Job) -> dict[str, ManifestBlob | None]:
    """Return what the job names by digest."""
    named = {
        "parameters": job.spec["parameters"],
        "program": job.spec["workload"].get("program"),
        "frozen": job.spec.get("frozen"),
    }
    rows = Artifact.objects.filter(tenant_id=job.tenant_id, digest__in=filter(None, named.values()))
    sizes = dict(rows.values_list("digest", "size_bytes"))
    return {
        name: ManifestBlob(digest=one, size_bytes=sizes.get(one, 0)) if one else None
        for name, one in named.items()
    }


def _folded(job: Job, released: Iterable[UUID]) -> _Folded:
    ids, found = list(released), _Folded()
    reports = Update.objects.filter(round_id__in=ids, set_aside_at=None)
    spans: dict[tuple[UUID, int], list[int]] = {}
    for round_id, batch, assignment, device, plan, base in reports.order_by(
        "round_id", "sequence"
    ).values_list(
        "round_id", "batch__number", "assignment_id", "assignment__device_id",
        "assignment__plan_version", "assignment__base_version",
    ):  # fmt: skip
        name = pseudonym(job.tenant_id, device)
        cohort = found.cohorts[round_id]
        cohort.append(
            ManifestMember(assignment=str(assignment), device=name, plan=plan, base_version=base)
        )
        if batch is not None:
            spans.setdefault((round_id, batch), [len(cohort), 0])[1] = len(cohort)
    partials = Partial.objects.filter(round_id__in=ids).order_by("round_id", "number")
    for round_id, number, digest, weight in partials.values_list(
        "round_id", "number", "digest", "weight"
    ):
        first, last = spans[round_id, number]
        found.batches[round_id].append(
            ManifestBatch(number=number, first=first, last=last, partial=digest)
        )
        found.weights[round_id] += weight
    found.versions = {
        one.round_id: one for one in ModelVersion.objects.filter(round_id__in=ids) if one.round_id
    }
    return found


def _round(
    job: Job, row: Round, found: _Folded, policies: Sequence[ManifestPolicy]
) -> ManifestRound:
    made = found.versions.get(row.id)
    return ManifestRound(
        id=str(row.id),
        number=row.number,
        attempt=row.attempt,
        kind=row.kind,
        status=row.status,
        outcome=row.outcome,
        reason=str(row.reason.get("code", "")),
        demand=row.demand,
        target=row.target,
        quorum=row.quorum,
        reported=row.reported,
        seed=row.seed,
        base_version=row.base_version,
        base_digest=row.base_digest,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        finished_at=row.finished_at,
        policies=[one.version for one in policies],
        sent=_sent(job.spec, row),
        cohort=found.cohorts.get(row.id, []),
        batches=found.batches.get(row.id, []),
        version=_version(made, found.weights.get(row.id)) if made else None,
        metrics=row.metrics,
        forgotten=row.endings is not None,
    )


def _version(row: ModelVersion, weight: float | None) -> ManifestVersion:
    return ManifestVersion(
        number=row.number,
        digest=row.digest,
        size_bytes=row.size_bytes,
        state=row.state_digest,
        reports=row.reports,
        weight=weight,
        metrics=row.metrics,
        evaluation=row.evaluation,
        made_with=row.made_with,
    )


def _sent(spec: dict[str, Any], row: Round) -> ManifestSent:
    workload = spec["workload"]
    train = workload.get("train")
    return ManifestSent(
        codec=spec["codec"],
        max_update_bytes=spec["max_update_bytes"] or row.base_size + (1 << 20),
        deadline_s=row.deadline_s,
        train=told_to_train(train, row.number) if train is not None else None,
        config=workload.get("config"),
    )
