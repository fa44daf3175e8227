"""Jobs whose measures are drawn over each other: of the reader's own tenant only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from frontend import words
from frontend.asked import COMPARED_MAX
from jobs.models import Job

CHOICES = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """A job that may be compared."""

    id: UUID
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Compared:
    """The jobs that were asked for and are there, and what to say of the others."""

    jobs: list[Job]
    notes: list[str]


def compared(job: Job, asked: Sequence[str]) -> Compared:
    """Find the jobs to compare with ``job``, in the order asked for.

    One of another tenant is told as one that never was.
    """
    notes = []
    if len(asked) > COMPARED_MAX:
        notes.append(
            f"At most {COMPARED_MAX} jobs are compared: the first {COMPARED_MAX} are shown."
        )
    wanted = [_id(text) for text in asked[:COMPARED_MAX]]
    ids = dict.fromkeys(one for one in wanted if one is not None and one != job.id)
    found = {one.id: one for one in Job.objects.filter(id__in=list(ids))}
    missing = wanted.count(None) + sum(one not in found for one in ids)
    if missing:
        is_left = (
            "is left out: there is no such job"
            if missing == 1
            else "are left out: there are no such jobs"
        )
        notes.append(
            f"{words.count(missing, 'job')} to compare with {is_left} in your tenant. "
            "Pick from the list."
        )
    if job.id in wanted:
        notes.append("This job is drawn anyway; it is not compared with itself.")
    return Compared([found[one] for one in ids if one in found], notes)


def choices(job: Job, taken: Sequence[Job]) -> list[Choice]:
    """Return the newest jobs that have a model and are not drawn yet."""
    rows = Job.objects.filter(version__gt=0).exclude(id__in=[job.id, *(one.id for one in taken)])
    found = rows.order_by("-id").values_list("id", "name", "version")
    return [Choice(*one) for one in found[:CHOICES]]


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
