"""Figures of jobs, rounds and assignments for Prometheus, read at the scrape."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jobs.models import Assignment, Job, Round

SETTLED = timedelta(minutes=1)
"""A round is in the rows this long after its end at the latest: what takes a commit to be seen."""


class Ended:
    """How rounds and assignments ended, counted without a look at all of them each time.

    Nothing changes in a round that has ended, so each is added once in the life of a process; a
    scrape then reads the rounds of the last minute and those that are open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: datetime | None = None
        self._rounds: Counter[tuple[str, str]] = Counter()
        self._assignments: Counter[str] = Counter()

    def counted(self) -> tuple[Counter[tuple[str, str]], Counter[str]]:
        """Return ended rounds by kind and outcome, and assignments by status."""
        with self._lock:
            self._settle()
            recent = Q() if self._until is None else Q(finished_at__gt=self._until)
            rounds, assignments = _count(Q(status=Round.Status.FINISHED) & recent)
            at_work = Assignment.objects.exclude(round__status=Round.Status.FINISHED)
            return self._rounds + rounds, self._assignments + assignments + _by_status(at_work)

    def _settle(self) -> None:
        newest = Round.objects.aggregate(at=Max("finished_at"))["at"]
        if newest is None or (self._until is not None and newest < self._until):
            # Other rows than those that were counted: a backup was restored.
            self._until = None
            self._rounds.clear()
            self._assignments.clear()
        if newest is None or (self._until is not None and newest - SETTLED <= self._until):
            return
        since = Q() if self._until is None else Q(finished_at__gt=self._until)
        rounds, assignments = _count(since & Q(finished_at__lte=newest - SETTLED))
        self._rounds += rounds
        self._assignments += assignments
        self._until = newest - SETTLED


def _count(meant: Q) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    found = Round.objects.filter(meant).order_by()
    rounds = Counter(
        {
            (kind, outcome): number
            for kind, outcome, number in found.values_list("kind", "outcome").annotate(Count("id"))
        }
    )
    assignments = _by_status(Assignment.objects.filter(round__in=found))
    forgotten = found.filter(endings__isnull=False).order_by()
    for endings in forgotten.values_list("endings", flat=True).iterator():
        for status, _, number in endings or ():
            assignments[status] += number
    return rounds, assignments


def _by_status(rows: QuerySet[Assignment]) -> Counter[str]:
    return Counter(dict(rows.order_by().values_list("status").annotate(Count("id"))))


ENDED = Ended()


def collect(ended: Ended = ENDED) -> Iterable[Metric]:
    """Yield jobs by state, ended rounds by outcome, and ended assignments by how they ended."""
    jobs = GaugeMetricFamily("propius_jobs", "Jobs that have not ended", labels=["status"])
    unfinished = Job.objects.exclude(status=Job.Status.FINISHED)
    counts = dict(unfinished.values_list("status").annotate(Count("id")))
    for status in (Job.Status.SUBMITTED, Job.Status.RUNNING, Job.Status.PAUSED):
        jobs.add_metric([status], counts.get(status, 0))
    yield jobs
    by_outcome, held = ended.counted()
    rounds = CounterMetricFamily(
        "propius_rounds", "Rounds that have ended", labels=["kind", "outcome"]
    )
    for (kind, outcome), number in sorted(by_outcome.items()):
        rounds.add_metric([kind, outcome], number)
    yield rounds
    assignments = CounterMetricFamily(
        "propius_assignments",
        "Assignments that have ended; expired ones are leases that ran out",
        labels=["status"],
    )
    for ending in Assignment.Status.values:
        if ending != Assignment.Status.BOUND.value:
            assignments.add_metric([ending], held[ending])
    yield assignments
    bound = held[Assignment.Status.BOUND]
    yield GaugeMetricFamily("propius_leases", "Assignments that devices hold now", value=bound)
