"""The transition tables of jobs, rounds and assignments: every move that is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from jobs.models import Assignment, Job, Round

S = TypeVar("S", bound=str)

JOB = {
    Job.Status.SUBMITTED: (Job.Status.RUNNING, Job.Status.FINISHED),
    Job.Status.RUNNING: (Job.Status.PAUSED, Job.Status.FINISHED),
    Job.Status.PAUSED: (Job.Status.RUNNING, Job.Status.FINISHED),
    Job.Status.FINISHED: (),
}
ROUND = {
    Round.Status.SELECTING: (
        Round.Status.EXECUTING,
        Round.Status.AGGREGATING,
        Round.Status.FINISHED,
    ),
    Round.Status.EXECUTING: (Round.Status.AGGREGATING, Round.Status.FINISHED),
    Round.Status.AGGREGATING: (Round.Status.FINISHED,),
    Round.Status.FINISHED: (),
}
ASSIGNMENT = {
    Assignment.Status.BOUND: (
        Assignment.Status.REPORTED,
        Assignment.Status.DECLINED,
        Assignment.Status.FAILED,
        Assignment.Status.EXPIRED,
        Assignment.Status.CANCELLED,
    ),
    # A leaf had acknowledged its report, and never handed it over; or its update has rotted.
    Assignment.Status.REPORTED: (Assignment.Status.FAILED,),
    Assignment.Status.DECLINED: (),
    Assignment.Status.FAILED: (),
    Assignment.Status.EXPIRED: (),
    Assignment.Status.CANCELLED: (),
}

OPEN_ROUND = (Round.Status.SELECTING, Round.Status.EXECUTING)
"""States of a round in which devices are bound and report."""


def before(table: Mapping[S, Iterable[S]], target: S) -> list[S]:
    """Return the states from which ``target`` may be reached; the WHERE of a move."""
    return [state for state, targets in table.items() if target in targets]
