"""Hints to the data plane's workers. Each looks at rows; a lost one comes back by the sweep."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from aggregation import forgetting, leaves, ownership, scrubbing, sweeping, usage
from core import hints


@shared_task(name="aggregation.fold")
def fold(round_id: str) -> None:
    """Fold what is ready of a round, and close it if that was the rest."""
    # Only these tasks need torch; other workers import this module too.
    from aggregation import closing, folding

    hints.taken("aggregation.fold", round_id)
    while folding.fold_next(round_id=UUID(round_id), now=timezone.now()):
        pass
    closing.close_round(round_id=UUID(round_id), now=timezone.now())


@shared_task(name="aggregation.sweep")
def sweep() -> None:
    """Hint again at everything that waits."""
    # Early, in this worker's every child: the first round shall not wait two seconds for torch.
    from aggregation import closing  # noqa: F401

    sweeping.sweep(now=timezone.now())
    leaves.give_up(now=timezone.now())


@shared_task(name="aggregation.collect")
def collect() -> None:
    """Delete blobs that nothing names any more."""
    ownership.collect(now=timezone.now())


@shared_task(name="aggregation.roll_up")
def roll_up() -> None:
    """Count what tenants used yesterday and today, then forget who did what long ago."""
    usage.roll_up(now=timezone.now())
    forgetting.forget(now=timezone.now())


@shared_task(name="aggregation.scrub")
def scrub() -> None:
    """Re-read some blobs, and set aside those that have rotted."""
    scrubbing.scrub(now=timezone.now())


@shared_task(name="aggregation.check_program")
def check_program(tenant_id: str, digest: str) -> None:
    """Check an uploaded program in a capped child."""
    from aggregation import checking

    hints.taken("aggregation.check_program", tenant_id, digest)
    checking.check_program(tenant_id=UUID(tenant_id), digest=digest, now=timezone.now())
