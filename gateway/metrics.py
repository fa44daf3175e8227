"""Figures of this gateway process for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge
from prometheus_client.core import Metric

SOCKETS = Gauge("propius_gateway_sockets", "Open device connections")
IDLE = Gauge("propius_gateway_idle", "Devices that wait for a round")
TRANSFERS = Gauge("propius_gateway_transfers", "Transfers under way", ["direction"])
BINDS = Counter("propius_gateway_binds", "Answers to devices that ask for a round", ["outcome"])
RESULTS = Counter(
    "propius_gateway_results", "Updates and reports, by what became of them", ["code"]
)
BYTES = Counter("propius_gateway_bytes", "Bytes of tensors and programs moved", ["direction"])


def collect() -> Iterable[Metric]:
    """Return nothing more: all of the above is counted in memory, as it happens."""
    return []
