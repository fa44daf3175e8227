"""Figures of the control plane for Prometheus, read at the scrape, as the system role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jobs import selectors as job_selectors
from scheduling import selectors, supply


def collect() -> Iterable[Metric]:
    """Yield binds, open demand, the wait of open rounds, the plan, and connected devices."""
    yield from _demand()
    yield from _plan()
    yield from _devices()


def _demand() -> Iterable[Metric]:
    now = timezone.now()
    rounds = [one for one in job_selectors.open_rounds() if one.remaining]
    slots: Counter[str] = Counter()
    for one in rounds:
        slots[one.kind] += one.remaining
    demand = GaugeMetricFamily(
        "propius_open_demand", "Slots of open rounds that no device is bound to", labels=["kind"]
    )
    for kind in ("train", "evaluate"):
        demand.add_metric([kind], slots[kind])
    waits = [(now - one.opened_at).total_seconds() for one in rounds]
    yield demand
    yield GaugeMetricFamily(
        "propius_rounds_waiting", "Open rounds that still wait for devices", value=len(rounds)
    )
    yield GaugeMetricFamily(
        "propius_queue_wait_seconds_max",
        "How long the round that has waited longest for devices has been open",
        value=max(waits, default=0.0),
    )
    yield GaugeMetricFamily(
        "propius_queue_wait_seconds_mean",
        "How long the rounds that wait for devices have been open, on average",
        value=sum(waits) / len(waits) if waits else 0.0,
    )


def _plan() -> Iterable[Metric]:
    totals = selectors.counters()
    # Redis counts them, so they start again from zero after it was emptied: a counter's reset.
    yield CounterMetricFamily(
        "propius_binds", "Slots that the bind script has granted", value=totals.get("granted", 0)
    )
    yield CounterMetricFamily(
        "propius_plans", "Plans that were published", value=totals.get("plans", 0)
    )
    state = selectors.plan_state()
    if state is not None:
        version = GaugeMetricFamily(
            "propius_plan_version", "Version of the published plan", labels=["policy"]
        )
        version.add_metric([state.policy], state.version)
        yield version
        yield GaugeMetricFamily(
            "propius_plan_age_seconds",
            "Time since the plan was published",
            value=max(0.0, (timezone.now() - state.at).total_seconds()),
        )


def _devices() -> Iterable[Metric]:
    online = supply.online()
    devices = GaugeMetricFamily(
        "propius_devices_connected", "Devices on live gateways", labels=["state"]
    )
    devices.add_metric(["idle"], sum(online.idle.values()))
    devices.add_metric(["busy"], sum(online.busy.values()))
    yield devices
    yield GaugeMetricFamily("propius_gateways", "Gateways that are alive", value=online.gateways)
