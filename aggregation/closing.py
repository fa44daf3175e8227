"""Close rounds: merge partials, take the strategy's step, make the next model version.

Importing this imports torch: workers only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import torch
from django.db import InterfaceError, OperationalError, transaction

import jobs.services
from aggregation import (
    blobs,
    claims,
    evaluations,
    folding,
    gathering,
    marking,
    ownership,
    privacy,
    queries,
    recipes,
    retention,
    rot,
    summing,
    sums,
    sweeping,
)
from aggregation import recipe as recipe_of
from aggregation.models import Batch, Closing, ModelVersion, Partial, Update
from aggregation.recipe import Recipe
from aggregation.strategies import AllUpdates, StrategyError, WeightedSum
from core import hints, knobs
from jobs.models import Round

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    """The next version's blobs, durable and not yet named by a row, and its metrics."""

    digest: str
    size_bytes: int
    state_digest: str
    state_bytes: int
    metrics: Mapping[str, float]


def close_round(*, round_id: UUID, now: datetime) -> bool:
    """Finish a round that is aggregating and folded; False if there is nothing to do (yet).

    Exactly once, however many workers try: the commit holds the round's lock.
    """
    round_ = Round.objects.select_related("job").get(id=round_id)
    if round_.status != Round.Status.AGGREGATING:
        return False
    cohort = max(knobs.get().min_cohort, round_.job.spec["rounds"]["min_cohort"])
    if (shortfall := _shortfall(round_, cohort)) is not None:
        _fail(round_, *shortfall, now)
        return True
    if Batch.objects.filter(round=round_, done_at=None).exists():
        return False
    # ON CONFLICT: two workers often come here at the same moment.
    new = Closing(round=round_, tenant_id=round_.tenant_id)
    Closing.objects.bulk_create([new], ignore_conflicts=True)
    row = Closing.objects.get(round=round_)
    token = claims.take(Closing, round_.pk, now=now)
    if token is None:
        return False
    if not claims.is_deadly(row):
        _close(round_, cohort, token, now)
    elif rot.fold_again(round_, now=now):
        claims.begin_anew(Closing, round_.pk)
    else:
        _fail(round_, "close_failed", "every worker that closed the round died", now)
    return True


def _shortfall(round_: Round, cohort: int) -> tuple[str, str] | None:
    """Say, as code and words, why a round has too few reports, if it has."""
    has = f"{round_.reported} reports"
    if round_.set_aside:
        # It had enough when it closed.
        has += f", {round_.set_aside} more set aside since their bytes had changed on the disk"
        if cohort <= round_.reported < round_.quorum:
            return "too_few_reports", f"{has}; at least {round_.quorum} needed"
    if round_.reported < cohort:
        return "cohort_too_small", f"{has}; a result is released over at least {cohort}"
    return None


def _close(round_: Round, cohort: int, token: UUID, now: datetime) -> None:
    close = _close_training if round_.kind == Round.Kind.TRAIN else evaluations.close
    if round_.job.is_driven:
        close = summing.close
    try:
        with claims.kept(Closing, round_.pk, token), rot.mended(round_, now=now):
            close(round_, cohort, now)
    except jobs.services.RoundOver:
        logger.info("close.already", extra=_ids(round_))
    except rot.SetAside:
        claims.give_back(Closing, round_.pk, token)
        hints.send("aggregation.fold", str(round_.id), queue="aggregation")
    except (StrategyError, sums.NotFinite) as error:
        # The same updates would give the same again.
        _fail(round_, "step_failed", str(error), now)
    except folding.BROKEN as error:
        logger.warning("close.failed", extra=_ids(round_) | {"error": str(error)})
        _failed(round_, token, str(error), now)
    except (OperationalError, InterfaceError):
        claims.let_go(Closing, round_.pk, token)
        raise  # the database's fault, not the round's
    except Exception as error:
        # The edge: what nobody foresaw would come again with every claim, for ever.
        logger.exception("close.crashed", extra=_ids(round_))
        _failed(round_, token, f"{type(error).__name__} in the platform", now)


def _failed(round_: Round, token: UUID, why: str, now: datetime) -> None:
    if claims.failed(Closing, round_.pk, token, now=now) >= claims.ATTEMPTS:
        _fail(round_, "close_failed", why, now)


def _close_training(round_: Round, cohort: int, now: datetime) -> None:
    partials = list(Partial.objects.filter(round=round_).order_by("number"))
    count = sum(partial.count for partial in partials)
    if count != round_.reported:
        raise folding.Incomplete(f"partials hold {count} of {round_.reported} updates")
    made = _make(round_, partials, cohort, now)
    metrics = dict(made.metrics)
    if queries.is_query(round_.job):
        metrics |= queries.figures(blobs.store().path(made.digest))
    with transaction.atomic():
        # Its lock first, as in every transaction; the winner alone goes on.
        jobs.services.lock_to_finish(round_.id)
        jobs.services.locked_aggregating(round_.id)
        _name(round_, made, now)
        number = round_.base_version + 1
        ModelVersion.objects.create(
            tenant_id=round_.tenant_id,
            job_id=round_.job_id,
            round=round_,
            number=number,
            digest=made.digest,
            size_bytes=made.size_bytes,
            state_digest=made.state_digest,
            reports=count,
            metrics=metrics,
            made_with=recipe_of.made_with(),
            created_at=now,
        )
        marking.mark(round_, cohort=cohort, now=now)
        claims.done(Closing, round_.pk, now=now)
        jobs.services.complete_round(
            round_id=round_.id,
            parameters_digest=made.digest,
            parameters_size=made.size_bytes,
            version=number,
            metrics=metrics,
            now=now,
        )
        retention.apply(round_.job, now=now)


def _make(round_: Round, partials: list[Partial], cohort: int, now: datetime) -> _Made:
    sweeping.ensure_first(round_.job, now=round_.opened_at)
    recipe = recipes.of(round_)
    scalars = sums.merge_metrics(partial.metrics for partial in partials)
    if isinstance(recipe.strategy, AllUpdates):
        return _gather(round_, recipe, recipe.strategy, sums.means(scalars, cohort=cohort), now)
    merged = recipe_of.merged(
        recipe.strategy, ((one.weight, one.count) for one in partials), scalars
    )
    if recipe.mechanism is None:
        metrics = sums.means(scalars, cohort=cohort)
        # A buffer's partials hold changes.
        settle_changes = _from_changes(merged.weight) if recipe.by_staleness else None
        return _sum(recipe, recipe.strategy, partials, merged, metrics, settle_changes)
    mechanism, rng = recipe.mechanism, privacy.entropy()
    below, _, _ = scalars[privacy.UNCLIPPED]
    after = mechanism.next_norm(below, merged.count, rng)
    spent = privacy.metrics(
        mechanism.settings, releases=round_.base_version + 1, norm=mechanism.norm
    )

    def settle(total: torch.Tensor, base: torch.Tensor) -> None:
        mechanism.noise(total, rng)
        total.add_(base, alpha=merged.weight)

    carried = {privacy.CLIP: torch.tensor(after)} if mechanism.count_noise else {}
    return _sum(recipe, recipe.strategy, partials, merged, spent, settle, carried)


def _from_changes(weight: float) -> sums.Settle:
    def settle(total: torch.Tensor, base: torch.Tensor) -> None:
        total.add_(base, alpha=weight)

    return settle


def _sum(
    recipe: Recipe,
    strategy: WeightedSum,
    partials: list[Partial],
    merged: sums.Merged,
    metrics: Mapping[str, float],
    settle: sums.Settle | None = None,
    carried: Mapping[str, torch.Tensor] | None = None,
) -> _Made:
    store = blobs.store()
    with store.writer() as writer, store.writer() as state_writer:
        sums.close(
            base=recipe.encoding.base,
            partials=[store.path(partial.digest) for partial in partials],
            merged=merged,
            rules=recipe.rules,
            strategy=strategy,
            state=recipe.state,
            write=writer.write,
            write_state=state_writer.write,
            settle=settle,
            carried=carried,
        )
        digest = writer.commit()
        state = state_writer.commit() if strategy.keeps or carried else ""
    return _Made(digest, writer.size_bytes, state, state_writer.size_bytes, metrics)


def _gather(
    round_: Round,
    recipe: Recipe,
    strategy: AllUpdates,
    metrics: Mapping[str, float],
    now: datetime,
) -> _Made:
    """Read every update of the round itself: raw ones stay until it is finished."""
    try:
        return _gather_all(round_, recipe, strategy, metrics)
    except Exception as error:
        # Whatever it is: a header that has rotted may break anything.
        if rot.take_back(round_, now=now):
            raise rot.SetAside from error
        raise


def _gather_all(
    round_: Round, recipe: Recipe, strategy: AllUpdates, metrics: Mapping[str, float]
) -> _Made:
    rows = Update.objects.filter(round=round_, set_aside_at=None).order_by("sequence")
    paths = [blobs.store().path(one) for one in rows.values_list("digest", flat=True)]
    if len(paths) != round_.reported:
        raise folding.Incomplete(f"{len(paths)} of {round_.reported} updates have rows")
    with blobs.store().writer() as writer:
        gathering.close(
            updates=paths,
            encoding=recipe.encoding,
            rules=recipe.rules,
            strategy=strategy,
            write=writer.write,
        )
        digest = writer.commit()
    return _Made(digest, writer.size_bytes, "", 0, metrics)


def _name(round_: Round, made: _Made, now: datetime) -> None:
    named = ((made.digest, made.size_bytes), (made.state_digest, made.state_bytes))
    # Sorted: every transaction locks blobs in one order.
    for digest, size_bytes in sorted(named):
        if digest:
            ownership.claim(
                tenant_id=round_.tenant_id, digest=digest, size_bytes=size_bytes, now=now
            )


def _fail(round_: Round, code: str, message: str, now: datetime) -> None:
    logger.warning("round.failed", extra=_ids(round_) | {"code": code, "error": message})
    jobs.services.fail_round(round_id=round_.id, code=code, message=message, now=now)


def _ids(round_: Round) -> dict[str, str]:
    return {
        "tenant": str(round_.tenant_id),
        "job": str(round_.job_id),
        "round": str(round_.id),
    }
