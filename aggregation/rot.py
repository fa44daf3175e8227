"""Updates whose bytes have changed on the disk since they were acknowledged.

Folding compares sums as it reads, and stops. Then every update of the batch is read again by its
SHA-256, those that are not what came in are set aside, and the batch is folded without them: the
same good updates in the same order, so the same bits whoever folds it. A partial that has rotted is
folded again from its updates.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import InterfaceError, OperationalError, transaction

import jobs.services
from aggregation import blobs, scrubbing
from aggregation.models import Batch, Partial, Update
from core import events
from jobs.models import Round

logger = logging.getLogger(__name__)


class SetAside(Exception):
    """A round goes on without bytes that have rotted; what was being done is to be done again."""


def set_aside(batch: Batch, *, now: datetime) -> int:
    """Set aside the rotten updates of a batch that is not folded; returns how many."""
    return _set_aside(batch, batch.updates.filter(set_aside_at=None, partial=None), now)


def take_back(round_: Round, *, now: datetime) -> int:
    """Set aside the rotten updates of a round whose strategy reads all of them at its close.

    The batches that they are in, whose partials hold only scalars, are folded again without them.
    """
    count = 0
    for batch in Batch.objects.filter(round=round_).order_by("number"):
        count += _set_aside(batch, batch.updates.filter(set_aside_at=None), now)
    return count


@contextmanager
def mended(round_: Round, *, now: datetime) -> Iterator[None]:
    """Close a round; rotten partials are taken back, and SetAside is raised for its error."""
    try:
        yield
    except (SetAside, jobs.services.RoundOver, OperationalError, InterfaceError):
        raise
    except Exception as error:
        # Whatever it is: what has rotted may break anything, and make numbers that are none.
        if fold_again(round_, now=now):
            raise SetAside from error
        raise


def fold_again(round_: Round, *, now: datetime) -> int:
    """Take back the rotten partials of a round at its close; returns how many.

    Raw updates are there until the round has finished, so their batches are folded again, to the
    same bits. Of one whose updates have only ever been at a leaf there is nothing to fold.
    """
    count = 0
    for partial in Partial.objects.filter(round=round_).order_by("number"):
        if _is_rotten(partial.digest) and _is_foldable(partial):
            scrubbing.set_aside(partial.digest, now=now)
            count += _take_apart(partial, now)
    return count


def _is_foldable(partial: Partial) -> bool:
    try:
        for digest in partial.updates.values_list("digest", flat=True):
            blobs.store().path(digest)
    except blobs.BlobMissing:
        return False
    return True


@transaction.atomic
def _take_apart(partial: Partial, now: datetime) -> bool:
    round_ = Round.objects.select_for_update(no_key=True).get(id=partial.round_id)
    mine = Partial.objects.filter(pk=partial.pk)
    if round_.status != Round.Status.AGGREGATING or not mine.exists():
        return False
    _reopen(Batch.objects.get(round=round_, number=partial.number))
    events.append(
        "round.partial_folded_again", now=now, tenant_id=round_.tenant_id, job_id=round_.job_id,
        round_id=round_.id, number=partial.number, count=partial.count,
    )  # fmt: skip
    return True


def _set_aside(batch: Batch, updates: Iterable[Update], now: datetime) -> int:
    rotten = [one for one in updates if _is_rotten(one.digest)]
    if not rotten:
        return 0
    for digest in sorted({one.digest for one in rotten}):
        scrubbing.set_aside(digest, now=now)
    return _commit(batch, rotten, now)


def _is_rotten(digest: str) -> bool:
    try:
        return not scrubbing.is_sound(digest)
    except blobs.BlobRotted:
        return True  # the slow re-reading was faster
    except (blobs.BlobMissing, OSError):
        return False  # a disk that is away may come back


@transaction.atomic
def _commit(batch: Batch, rotten: list[Update], now: datetime) -> int:
    Round.objects.select_for_update(no_key=True).get(id=batch.round_id)
    done_at = Batch.objects.select_for_update().values_list("done_at", flat=True).get(pk=batch.pk)
    if done_at is not None and batch.done_at is None:
        return 0  # another worker had read them while they were whole
    count = jobs.services.set_aside(
        round_id=batch.round_id, assignment_ids=[one.assignment_id for one in rotten], now=now
    )
    Update.objects.filter(id__in=[one.pk for one in rotten]).update(set_aside_at=now)
    if done_at is not None:
        _reopen(batch)
    logger.warning(
        "updates.set_aside", extra={"round": str(batch.round_id), "batch": str(batch.number)}
    )
    return count


def _reopen(batch: Batch) -> None:
    batch.updates.update(partial=None)
    Partial.objects.filter(round_id=batch.round_id, number=batch.number).delete()
    Batch.objects.filter(pk=batch.pk).update(
        done_at=None, token=None, claimed_until=None, failures=0
    )
