"""Sums that leaves hand over: checked, and committed with exactly the updates that are in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

import jobs.services
from aggregation import blobs, expected, ownership, scalars
from aggregation.models import Batch, Hold, Leaf, Partial, Update
from core import hints
from core.errors import Conflict, NotFound, Unprocessable
from jobs.models import Round
from propius import tensors
from propius.strategies import EQUAL_WEIGHTS, name_of
from propius.tensors import TensorError, TensorInfo

FOLDABLE = frozenset(name_of(one) for one in EQUAL_WEIGHTS)
"""Strategies on plain weighted sums. Of the others a leaf hands over each update as it came."""


class Overlap(Conflict):
    """Updates in a partial that this leaf does not hold (any more); ``errors`` name them."""

    code = "overlap"


class PartialRefused(Unprocessable):
    """A partial that does not fit its round."""

    code = "partial_refused"


def is_foldable(round_: Round) -> bool:
    """Tell whether leaves sum the updates of a round, or forward them.

    A private job's are clipped here, where its clipping norm is, and a bound on norms is held here.
    """
    spec = round_.job.spec
    measured = spec.get("privacy") or spec.get("max_update_norm") is not None
    return spec["strategy"]["name"] in FOLDABLE and not measured


def check(*, round_id: UUID, digest: str) -> None:
    """Check the tensors of a partial that is in the store. Raises PartialRefused, BlobMissing."""
    round_ = Round.objects.select_related("job").filter(id=round_id).first()
    if round_ is None:
        raise NotFound(f"there is no round {round_id}")
    if not is_foldable(round_):
        raise PartialRefused(f"round {round_id} takes the updates themselves, no sums")
    path = blobs.store().path(digest)
    try:
        tensors.check_matches(tensors.read_header(path), _wanted(round_))
        tensors.check_finite(path)
    except TensorError as error:
        raise PartialRefused(str(error), errors={error.field: str(error)}) from error


@transaction.atomic
def commit(
    *,
    leaf: Leaf,
    round_id: UUID,
    digest: str,
    size_bytes: int,
    batches: Sequence[Sequence[UUID]],
    now: datetime,
) -> int:
    """Count a checked partial and its updates, in the order of ``batches``; returns its number.

    All of them or none; a repeat is answered as the first. Weights and metrics are those of the
    holds: only the tensors are the leaf's word.

    Raises Overlap, RoundClosed, BlobMissing.
    """
    Round.objects.select_for_update(no_key=True).get(id=round_id)
    ids = [one for batch in batches for one in batch]
    before = _committed(round_id, digest, ids)
    if before is not None:
        return before
    held = {one.assignment_id: one for one in _holds(leaf, round_id, ids)}
    foreign = {str(one): "this leaf does not hold it" for one in ids if one not in held}
    if foreign or len(set(ids)) != len(ids) or not ids:
        raise Overlap(f"{len(foreign)} of {len(ids)} updates are not this leaf's", errors=foreign)
    reported = jobs.services.count_held(round_id=round_id, assignment_ids=ids, now=now)
    batch = _batch(reported, len(ids), now)
    ownership.claim(tenant_id=batch.tenant_id, digest=digest, size_bytes=size_bytes, now=now)
    blobs.store().path(digest)
    groups = [[held[one] for one in group] for group in batches]
    partial = Partial.objects.create(
        tenant_id=batch.tenant_id,
        round_id=round_id,
        number=batch.number,
        digest=digest,
        size_bytes=size_bytes,
        count=len(ids),
        weight=sum(sum(one.weight for one in group) for group in groups),
        metrics=scalars.merge_metrics(
            scalars.sum_metrics((one.weight, one.metrics) for one in group) for group in groups
        ),
        created_at=now,
    )
    _insert(partial, batch, [one for group in groups for one in group], now)
    return partial.number


def _committed(round_id: UUID, digest: str, ids: Sequence[UUID]) -> int | None:
    for partial in Partial.objects.filter(round_id=round_id, digest=digest):
        found = partial.updates.order_by("sequence").values_list("assignment_id", flat=True)
        if list(found) == list(ids):
            return partial.number
    return None


def _holds(leaf: Leaf, round_id: UUID, ids: Sequence[UUID]) -> list[Hold]:
    return list(Hold.objects.filter(leaf=leaf, round_id=round_id, assignment_id__in=ids))


def _batch(reported: jobs.services.Reported, count: int, now: datetime) -> Batch:
    """Return a batch that is folded; the one before it takes no more updates."""
    round_, first = reported.round, reported.sequence
    newest = Batch.objects.filter(round=round_).order_by("-number").first()
    if newest is not None and newest.last >= first:
        Batch.objects.filter(pk=newest.pk).update(last=first - 1)
        hints.send("aggregation.fold", str(round_.id), queue="aggregation")
    return Batch.objects.create(
        tenant_id=round_.tenant_id,
        round=round_,
        number=newest.number + 1 if newest else 0,
        first=first,
        last=first + count - 1,
        done_at=now,
    )


def _insert(partial: Partial, batch: Batch, held: Sequence[Hold], now: datetime) -> None:
    Update.objects.bulk_create(
        Update(
            tenant_id=partial.tenant_id,
            round_id=partial.round_id,
            assignment_id=one.assignment_id,
            sequence=batch.first + place,
            batch=batch,
            partial=partial,
            digest=one.digest,
            size_bytes=one.size_bytes,
            weight=one.weight,
            metrics=one.metrics,
            accepted_at=now,
        )
        for place, one in enumerate(held)
    )
    Hold.objects.filter(assignment_id__in=[one.assignment_id for one in held]).delete()


def _wanted(round_: Round) -> Mapping[str, TensorInfo]:
    averaged = expected.averaged(round_.job)
    return {
        name: TensorInfo("F64" if info.dtype == "F64" else "F32", info.shape)
        for name, info in averaged.items()
    }
