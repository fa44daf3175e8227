"""Fold batches of updates into partials, each update exactly once.

Importing this imports torch: workers only.
"""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction

import jobs.services
from aggregation import blobs, claims, measuring, ownership, queries, recipes, rot, sums, sweeping
from aggregation.models import Batch, Partial, Update
from aggregation.recipe import Recipe, Report, fold
from aggregation.strategies import StrategyError
from jobs.models import Round
from propius.tensors import TensorError

logger = logging.getLogger(__name__)


class AlreadyFolded(Exception):
    """Another worker has committed this batch; ours is dropped."""


class Incomplete(RuntimeError):
    """The rows of a batch are not what its numbers say."""


BROKEN = (
    blobs.BlobMissing,
    blobs.StorageFull,
    TensorError,
    StrategyError,
    sums.NotFinite,
    Incomplete,
    OSError,
)
"""What may be wrong with the bytes or the disk: tried again, and then the round fails."""


def fold_next(*, round_id: UUID, now: datetime) -> bool:
    """Fold one ready batch of a round; False if there is none that is free."""
    for batch in sweeping.ready(now=now).filter(round_id=round_id).select_related("round"):
        token = claims.take(Batch, batch.pk, now=now)
        if token is not None:
            if claims.is_deadly(batch):
                _deadly(batch, now)
            else:
                _fold(batch, token, now)
            return True
    return False


def _fold(batch: Batch, token: UUID, now: datetime) -> None:
    try:
        with claims.kept(Batch, batch.pk, token):
            _fold_what_is_sound(batch, now)
    except rot.SetAside:
        claims.give_back(Batch, batch.pk, token)
    except AlreadyFolded:
        logger.info("fold.already", extra=_ids(batch))
    except BROKEN as error:
        logger.warning("fold.failed", extra=_ids(batch) | {"error": str(error)})
        _failed(batch, token, str(error), now)
    except (OperationalError, InterfaceError):
        claims.let_go(Batch, batch.pk, token)
        raise  # the database's fault, not the batch's
    except Exception as error:
        # The edge: what nobody foresaw would come again with every claim, for ever.
        logger.exception("fold.crashed", extra=_ids(batch))
        _failed(batch, token, f"{type(error).__name__} in the platform", now)


def _fold_what_is_sound(batch: Batch, now: datetime) -> None:
    try:
        compute_and_commit(batch, now=now)
    except (AlreadyFolded, OperationalError, InterfaceError):
        raise
    except Exception as error:
        # Whatever it is: a header that has rotted may break anything.
        if rot.set_aside(batch, now=now):
            raise rot.SetAside from error
        raise


def _failed(batch: Batch, token: UUID, why: str, now: datetime) -> None:
    if claims.failed(Batch, batch.pk, token, now=now) >= claims.ATTEMPTS:
        _give_up(batch, why, now)


def _deadly(batch: Batch, now: datetime) -> None:
    # Bytes that a disk has lost end who reads them from a map (SIGBUS), with no word of why.
    if rot.set_aside(batch, now=now):
        claims.begin_anew(Batch, batch.pk)
    else:
        _give_up(batch, "every worker that took it died", now)


def _give_up(batch: Batch, why: str, now: datetime) -> None:
    jobs.services.fail_round(
        round_id=batch.round_id,
        code="fold_failed",
        message=f"batch {batch.number} cannot be folded: {why}",
        now=now,
    )


def compute_and_commit(batch: Batch, *, now: datetime) -> Partial | None:
    """Fold a batch and commit the partial; none if all of its updates were set aside.

    Raises AlreadyFolded, or one of ``BROKEN``.
    """
    every = list(batch.updates.select_related("assignment").order_by("sequence"))
    last = Round.objects.get(id=batch.round_id).last_sequence
    expected = min(batch.last, last) - batch.first + 1
    if len(every) != expected:
        raise Incomplete(f"batch {batch.number} has {len(every)} updates, not {expected}")
    updates = [one for one in every if one.set_aside_at is None]
    if not updates:
        if not claims.done(Batch, batch.pk, now=now):
            raise AlreadyFolded(f"batch {batch.number} of round {batch.round_id}")
        return None
    recipe = recipes.of(batch.round)
    reports = _reports(recipe, updates, batch.round.base_version)
    with blobs.store().writer() as writer:
        scalars = fold(recipe, reports, writer.write)
        digest = writer.commit()
    if recipe.mechanism is None and not queries.is_query(batch.round.job):
        # Of a private job no number leaves without noise; an answer to a query moves no model.
        for one, norm in zip(updates, measuring.norms(reports, recipe.encoding), strict=True):
            one.norm = norm
    partial = Partial(
        tenant_id=batch.tenant_id,
        round_id=batch.round_id,
        number=batch.number,
        digest=digest,
        size_bytes=writer.size_bytes,
        count=len(updates),
        weight=scalars.weight,
        metrics=scalars.metrics,
        created_at=now,
    )
    _commit(batch, partial, updates, now)
    return partial


def _reports(recipe: Recipe, updates: list[Update], version: int) -> list[Report]:
    store = blobs.store()
    if not recipe.by_staleness:
        return [Report(store.path(one.digest), one.weight, one.metrics) for one in updates]
    return [
        Report(
            store.path(one.digest),
            one.weight,
            one.metrics,
            base=store.path(one.assignment.base_digest),
            behind=version - (one.assignment.base_version or 0),
        )
        for one in updates
    ]


@transaction.atomic
def _commit(batch: Batch, partial: Partial, updates: list[Update], now: datetime) -> None:
    """Insert the partial and point its updates at it: all of them, or nothing happens."""
    if not claims.done(Batch, batch.pk, now=now):
        raise AlreadyFolded(f"batch {batch.number} of round {batch.round_id}")
    ownership.claim(
        tenant_id=partial.tenant_id,
        digest=partial.digest,
        size_bytes=partial.size_bytes,
        now=now,
    )
    partial.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE aggregation_update u SET partial_id = %s, norm = v.norm
            FROM unnest(%s::bigint[], %s::float[]) AS v(id, norm)
            WHERE u.id = v.id AND u.partial_id IS NULL AND u.set_aside_at IS NULL
            """,
            [partial.pk, [one.pk for one in updates], [one.norm for one in updates]],
        )
        if cursor.rowcount != len(updates):
            raise Incomplete(f"an update of batch {batch.number} is in another partial already")


def _ids(batch: Batch) -> dict[str, str]:
    return {
        "tenant": str(batch.tenant_id),
        "job": str(batch.round.job_id),
        "round": str(batch.round_id),
        "batch": str(batch.number),
    }
