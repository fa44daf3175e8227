"""What jobs and rounds wait for, in words with numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    round_ = current or current_round(job)
    if round_ is None and job.is_driven:
        last = Round.objects.filter(job=job).aggregate(last=Max("number"))["last"] or 0
        text = f"driven: waiting for its program to start round {last + 1}"
        return Waiting("waiting_for_driver", text, {"round": last + 1})
    if round_ is None:
        return Waiting("evaluating", "waiting for the last evaluation", {})
    return _round_waiting(round_)


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
