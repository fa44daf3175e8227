"""Figures of jobs, rounds and assignments for Prometheus, counted at the scrape."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jobs.models import Assignment, Job, Round


def collect() -> Iterable[Metric]:
    """Yield jobs by state, ended rounds by outcome, and ended assignments by how they ended."""
    jobs = GaugeMetricFamily("propius_jobs", "Jobs that have not ended", labels=["status"])
    unfinished = Job.objects.exclude(status=Job.Status.FINISHED)
    counts = dict(unfinished.values_list("status").annotate(Count("id")))
    for status in (Job.Status.SUBMITTED, Job.Status.RUNNING, Job.Status.PAUSED):
        jobs.add_metric([status], counts.get(status, 0))
    yield jobs
    rounds = CounterMetricFamily(
        "propius_rounds", "Rounds that have ended", labels=["kind", "outcome"]
    )
    ended = Round.objects.filter(status=Round.Status.FINISHED)
    for kind, outcome, number in ended.values_list("kind", "outcome").annotate(Count("id")):
        rounds.add_metric([kind, outcome], number)
    yield rounds
    assignments = CounterMetricFamily(
        "propius_assignments",
        "Assignments that have ended; expired ones are leases that ran out",
        labels=["status"],
    )
    held = dict(Assignment.objects.values_list("status").annotate(Count("id")))
    bound = held.pop(Assignment.Status.BOUND, 0)
    for ending in Assignment.Status.values:
        if ending != Assignment.Status.BOUND.value:
            assignments.add_metric([ending], held.get(ending, 0))
    yield assignments
    yield GaugeMetricFamily("propius_leases", "Assignments that devices hold now", value=bound)
