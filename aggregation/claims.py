"""Claims on batches and closings: who works on what, until when.

A claim only saves double work. That nothing counts twice is the business of the commits, so a
worker whose claim ran out may still finish first: both compute the same bits.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Manager, Q, QuerySet

from aggregation.models import Claim
from core import knobs

ATTEMPTS = 3
RETRY_S = 2.0


def waiting(rows: QuerySet[Any] | Manager[Any], *, now: datetime) -> QuerySet[Any]:
    """Return the work that is neither done nor claimed."""
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    return rows.filter(free, done_at=None)


def take(model: type[Claim], key: Any, *, now: datetime) -> UUID | None:
    """Claim a row by a conditional UPDATE; None if another worker has it or it is done."""
    token = uuid.uuid4()
    rows = waiting(model._default_manager.filter(pk=key), now=now)
    until = now + timedelta(seconds=knobs.get().fold_claim_s)
    return token if rows.update(token=token, claimed_until=until) else None


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
