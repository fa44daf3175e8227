"""What jobs and rounds wait for, in words with numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Max

from jobs.models import Job, Round
from jobs.selectors.rounds import current_round


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a job waits for: a code, words for people, and the numbers in them."""

    code: str
    message: str
    numbers: dict[str, Any]


def waiting(job: Job, current: Round | None = None) -> Waiting:
    """Say what a job waits for, in words with numbers. ``current`` saves the look-up."""
    if (told := _before_rounds(job)) is not None:
        return told
    round_ = current or current_round(job)
    last = _last_numbers([job]).get(job.id, 0) if round_ is None and job.is_driven else 0
    return _between_rounds(job, last) if round_ is None else _round_waiting(round_)


def waits(jobs: Collection[Job], rounds: Mapping[UUID, Round]) -> dict[UUID, Waiting]:
    """Say it of many jobs, whose current rounds are given, with one query for any number."""
    idle = [job for job in jobs if job.id not in rounds and job.is_driven]
    last = _last_numbers(idle) if idle else {}
    found = {}
    for job in jobs:
        told = _before_rounds(job)
        if told is None and job.id in rounds:
            told = _round_waiting(rounds[job.id])
        found[job.id] = told or _between_rounds(job, last.get(job.id, 0))
    return found


def _before_rounds(job: Job) -> Waiting | None:
    """Say what keeps a job from its rounds altogether; None if nothing does."""
    if job.status == Job.Status.FINISHED:
        text = job.reason.get("message", "")
        numbers = {} if job.outcome != Job.Outcome.REJECTED else _numbers(job.reason)
        return Waiting(job.outcome, f"{job.outcome}{': ' + text if text else ''}", numbers)
    if job.held:
        return Waiting("quarantined", job.held, {})
    if job.status == Job.Status.SUBMITTED:
        text = job.reason.get("message", "the program's check and admission")
        return Waiting("waiting_for_admission", f"waiting for {text}", _numbers(job.reason))
    if job.status == Job.Status.PAUSED:
        return Waiting("paused", "paused: no new devices are selected", {})
    return None


def _between_rounds(job: Job, last: int) -> Waiting:
    if job.is_driven:
        text = f"driven: waiting for its program to start round {last + 1}"
        return Waiting("waiting_for_driver", text, {"round": last + 1})
    return Waiting("evaluating", "waiting for the last evaluation", {})


def _last_numbers(jobs: Collection[Job]) -> dict[UUID, int]:
    rows = Round.objects.filter(job__in=list(jobs)).order_by()
    return dict(rows.values_list("job_id").annotate(Max("number")))


def round_waiting(round_: Round) -> Waiting:
    """Say what a round waits for, or how it ended."""
    if round_.status != Round.Status.FINISHED:
        return _round_waiting(round_)
    text = round_.reason.get("message", "")
    return Waiting(round_.outcome, f"{round_.outcome}{': ' + text if text else ''}", {})


def _numbers(reason: dict[str, Any]) -> dict[str, Any]:
    """Return a decision's code and numbers; its words are told beside them."""
    return {name: value for name, value in reason.items() if name != "message"}


def _round_waiting(round_: Round) -> Waiting:
    numbers = {
        "round": round_.number,
        "bound": round_.assigned,
        "reported": round_.reported,
        "demand": round_.demand,
        "target": round_.target,
    }
    if round_.concurrency is not None and round_.status != Round.Status.AGGREGATING:
        return _buffer_waiting(round_, numbers)
    if round_.status == Round.Status.SELECTING:
        text = f"waiting for devices: {round_.assigned} of {round_.target} bound"
        return Waiting("waiting_for_devices", text, numbers)
    if round_.status == Round.Status.EXECUTING:
        text = f"training: {round_.reported} of {round_.demand} devices reported"
        return Waiting("waiting_for_reports", text, numbers)
    return Waiting("aggregating", f"folding {round_.reported} updates", numbers)


def _buffer_waiting(round_: Round, numbers: dict[str, Any]) -> Waiting:
    at_work = round_.assigned - round_.reported
    text = (
        f"asynchronous: {round_.reported} of {round_.demand} updates in the buffer, "
        f"{at_work} of {round_.concurrency} devices at work"
    )
    code = "waiting_for_reports" if at_work else "waiting_for_devices"
    return Waiting(code, text, numbers | {"at_work": at_work, "concurrency": round_.concurrency})
