"""Reports that counted and are lost after all: their updates cannot be read any more."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F

from core import events, hints
from jobs.models import Assignment, Round
from jobs.services import opening

ROTTED = "update_rotted"
NAMED = 5


@transaction.atomic
def set_aside(*, round_id: UUID, assignment_ids: Collection[UUID], now: datetime) -> int:
    """Let a round go on without reports that it has counted; returns how many it had.

    Their assignments have failed, the round says so, and asks for others in their place while it
    is open. Their sequence numbers are not given again. A round that is over stays as it is.
    """
    round_ = Round.objects.select_for_update(no_key=True).get(id=round_id)
    if round_.status == Round.Status.FINISHED:
        return 0
    rows = Assignment.objects.filter(
        id__in=assignment_ids, round_id=round_id, status=Assignment.Status.REPORTED
    )
    found = list(rows.order_by("id").select_for_update(no_key=True))
    if not found:
        return 0
    Assignment.objects.filter(id__in=[one.id for one in found]).update(
        status=Assignment.Status.FAILED,
        code=ROTTED,
        message="its update had come in whole; its bytes have changed on the platform's disk since",
        ended_at=now,
    )
    _shrink(round_, len(found))
    for one in found:
        events.append(
            "assignment.failed", now=now, tenant_id=one.tenant_id, job_id=one.job_id,
            round_id=round_id, assignment_id=one.id, code=ROTTED,
        )  # fmt: skip
    _say(round_, now)
    hints.send("scheduling.plan", queue="scheduling")
    return len(found)


def _shrink(round_: Round, count: int) -> None:
    # A slot of a buffer opened again as its device reported: it is not opened twice.
    reopened = count if round_.concurrency is not None else 0
    Round.objects.filter(id=round_.id).update(
        reported=F("reported") - count,
        set_aside=F("set_aside") + count,
        assigned=F("assigned") - count,
        lost=F("lost") + count,
        target=F("target") - reopened,
    )
    round_.refresh_from_db()


def _say(round_: Round, now: datetime) -> None:
    rotted = Assignment.objects.filter(round_id=round_.id, code=ROTTED).order_by("id")
    names = [str(one) for one in rotted.values_list("id", flat=True)[: NAMED + 1]]
    more = ", …" if len(names) > NAMED else ""
    count = round_.set_aside
    what = "1 update was" if count == 1 else f"{count} updates were"
    message = (
        f"{what} set aside, whose bytes had changed on the disk since they came in; the round goes"
        f" on without: assignment {', '.join(names[:NAMED])}{more}"
    )
    opening.note(round_, code=ROTTED, message=message, count=count)
    events.append(
        "round.updates_set_aside", now=now, tenant_id=round_.tenant_id, job_id=round_.job_id,
        round_id=round_.id, number=round_.number, count=count, message=message,
    )  # fmt: skip
