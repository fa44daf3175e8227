"""The data plane's figures for /metrics; read as the system role."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, Min, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric

from aggregation import sweeping
from aggregation.models import Blob, Update
from jobs.models import Round


def collect() -> Iterable[Metric]:
    """Yield fold lag, waiting updates and the blobs' size."""
    now = timezone.now()
    oldest = Round.objects.filter(status=Round.Status.AGGREGATING).aggregate(at=Min("closed_at"))
    lag = (now - oldest["at"]).total_seconds() if oldest["at"] else 0.0
    yield GaugeMetricFamily(
        "propius_fold_lag_seconds", "Age of the oldest round that waits for its result", lag
    )
    yield GaugeMetricFamily(
        "propius_updates_waiting",
        "Accepted updates that are in no partial yet",
        Update.objects.exclude(digest="")
        .exclude(round__status=Round.Status.FINISHED)
        .filter(partial=None, set_aside_at=None)
        .count(),
    )
    yield GaugeMetricFamily(
        "propius_batches_ready", "Batches that no worker folds yet", sweeping.ready(now=now).count()
    )
    held = Blob.objects.aggregate(size=Sum("size_bytes"), count=Count("id"))
    yield GaugeMetricFamily("propius_blobs_bytes", "Bytes of blobs", held["size"] or 0)
    yield GaugeMetricFamily("propius_blobs", "Number of blobs", held["count"])
