"""Claims on batches and closings: who works on what, until when.

A claim only saves double work. That nothing counts twice is the business of the commits, so a
worker whose claim ran out may still finish first: both compute the same bits. Who works renews its
claim; one that ran out is a worker that died, and counts as a failure: what kills every worker
that takes it must end, too.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Case, F, Manager, Q, QuerySet, Value, When
from django.db.models.functions import Now

from aggregation.models import Claim
from core import knobs

logger = logging.getLogger(__name__)

ATTEMPTS = 3
RETRY_S = 2.0


def waiting(rows: QuerySet[Any] | Manager[Any], *, now: datetime) -> QuerySet[Any]:
    """Return the work that is neither done nor claimed."""
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    return rows.filter(free, done_at=None)


def take(model: type[Claim], key: Any, *, now: datetime) -> UUID | None:
    """Claim a row by a conditional UPDATE; None if another worker has it or it is done."""
    token = uuid.uuid4()
    died = Case(When(token__isnull=False, then=Value(1)), default=Value(0))
    rows = waiting(model._default_manager.filter(pk=key), now=now)
    until = now + timedelta(seconds=knobs.get().fold_claim_s)
    taken = rows.update(token=token, claimed_until=until, failures=F("failures") + died)
    return token if taken else None


def is_deadly(row: Claim) -> bool:
    """Tell of a row read just before it was taken whether it has ended too many workers."""
    return row.failures + (row.token is not None) >= ATTEMPTS


@contextmanager
def kept(model: type[Claim], key: Any, token: UUID) -> Iterator[None]:
    """Renew a claim beside the work, however long that takes."""
    ended = threading.Event()
    beside = threading.Thread(target=_renew, args=(model, key, token, ended), daemon=True)
    beside.start()
    try:
        yield
    finally:
        ended.set()
        beside.join()


def _renew(model: type[Claim], key: Any, token: UUID, ended: threading.Event) -> None:
    lasts = timedelta(seconds=knobs.get().fold_claim_s)
    mine = model._default_manager.filter(pk=key, token=token, done_at=None)
    while not ended.wait(lasts.total_seconds() / 3):
        try:
            mine.update(claimed_until=Now() + lasts)
        except DatabaseError as error:
            logger.info("claim.not_renewed", extra={"reason": str(error)})
        finally:
            connection.close()


def give_back(model: type[Claim], key: Any, token: UUID) -> None:
    """Let anybody take the work at once: it has changed, which is no failure."""
    mine = model._default_manager.filter(pk=key, token=token, done_at=None)
    mine.update(token=None, claimed_until=None)


def begin_anew(model: type[Claim], key: Any) -> None:
    """Let anybody take the work, as if nobody had: what its workers died of has been mended."""
    rows = model._default_manager.filter(pk=key, done_at=None)
    rows.update(token=None, claimed_until=None, failures=0)


def let_go(model: type[Claim], key: Any, token: UUID) -> None:
    """Give back a claim after the database's own fault: no worker has died of the work.

    While the database is away the claim has to run out, and counts as a death.
    """
    with suppress(DatabaseError, InterfaceError):
        connection.close_if_unusable_or_obsolete()
        give_back(model, key, token)


def failed(model: type[Claim], key: Any, token: UUID, *, now: datetime) -> int:
    """Give back a claim after an error, to be taken again in a moment; returns the failures."""
    model._default_manager.filter(pk=key, token=token, done_at=None).update(
        token=None,
        claimed_until=now + timedelta(seconds=RETRY_S),
        failures=F("failures") + 1,
    )
    failures: int = model._default_manager.values_list("failures", flat=True).get(pk=key)
    return failures


def done(model: type[Claim], key: Any, *, now: datetime) -> bool:
    """Mark work as done, inside its commit; False if it was done before."""
    rows = model._default_manager.filter(pk=key, done_at=None)
    return bool(rows.update(done_at=now, token=None, claimed_until=None))
