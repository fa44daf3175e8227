"""/metrics: this process's own counters, and figures read from Postgres and Redis at the scrape.

An app adds to the second kind with a module `metrics.py` that has
`collect() -> Iterable[prometheus_client.core.Metric]`. It runs as the system role.
"""

import importlib
import importlib.util
import logging
import shutil
from collections.abc import Iterable, Iterator

import redis
from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connection
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg_pool import PoolTimeout

logger = logging.getLogger(__name__)


class AtScrape(Collector):
    """The figures of every app, each read when it is asked for."""

    def collect(self) -> Iterator[Metric]:
        yield _disk()
        for name in _apps_with_metrics():
            yield from _of(name)

    def describe(self) -> Iterable[Metric]:
        return []  # names are known at the scrape only


def exposition() -> bytes:
    """Return everything in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(AtScrape())
    try:
        return generate_latest(REGISTRY) + generate_latest(registry)
    finally:
        connection.close()


def _apps_with_metrics() -> list[str]:
    ours = (config.name for config in apps.get_app_configs())
    return [
        name
        for name in ours
        if name != "propius_site"
        and (settings.BASE_DIR / name).is_dir()
        and importlib.util.find_spec(f"{name}.metrics")
    ]


def _of(name: str) -> list[Metric]:
    from tenants import scopes

    module = importlib.import_module(f"{name}.metrics")
    try:
        with scopes.system_scope():
            return list(module.collect())
    except (DatabaseError, PoolTimeout, redis.RedisError) as error:
        # A scrape during an outage still has to show everything else.
        logger.warning("metrics.unavailable", extra={"app": name, "reason": str(error)})
        return []


def _disk() -> Metric:
    disk = GaugeMetricFamily(
        "propius_disk_bytes", "Space of the file system that holds PROPIUS_HOME", labels=["kind"]
    )
    usage = shutil.disk_usage(settings.PROPIUS_HOME)
    disk.add_metric(["free"], usage.free)
    disk.add_metric(["total"], usage.total)
    return disk
