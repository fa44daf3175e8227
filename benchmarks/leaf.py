"""What a leaf saves its root: bytes at the root per round, with all devices behind one leaf.

    make bench NAME=leaf
    .venv/bin/python -m benchmarks.leaf --devices 5 --megabytes 1 --rounds 2

The real process set, a real `manage.py leaf` and real agents; every device downloads and uploads
all parameters every round. Bytes of tensors are counted where they pass: by the data plane of the
web process and by the gateway. ``downloads_per_round`` and ``partials_per_round`` are those bytes
over the model's; without a leaf each would be the number of devices. ``past_the_leaf`` counts the
bytes that the gateway moved for devices that fell back.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks import process_set, result
from benchmarks.round import WARM_UP, Bench

DEVICES, MEGABYTES, ROUNDS = 50, 10, 5
READY_S = 60.0
TARGETS = {
    "downloads_per_round": ("<=", 1.01),
    "partials_per_round": ("<=", 1.01),
    "past_the_leaf": ("<=", 0),
}
Figures = dict[str, Any]


@contextmanager
def running_leaf(platform: process_set.ProcessSet, folder: Path) -> Iterator[None]:
    """Make a leaf for all pools and run it until the end of the block."""
    from django.utils import timezone

    from aggregation import leaves
    from aggregation.models import Leaf

    [port] = process_set.free_ports(1)
    _, token = leaves.create_leaf(
        name="bench", url=f"http://127.0.0.1:{port}", pools=[], actor="bench", now=timezone.now()
    )
    command = [
        sys.executable, "manage.py", "leaf", "--root", f"http://127.0.0.1:{platform.web_port}",
        "--token", token, "--folder", str(folder / "leaf"), "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=process_set.ROOT, env=platform.environment)
    try:
        until = time.monotonic() + READY_S
        while Leaf.objects.get(name="bench").heard_at is None:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the leaf did not start")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def moved(platform: process_set.ProcessSet) -> Counter[str]:
    """Return the bytes of tensors that web and gateway have moved, by process and direction."""
    found: Counter[str] = Counter()
    for name, port in (("web", platform.web_port), ("gateway", platform.gateway_port)):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in ("propius_data_bytes_total", "propius_gateway_bytes_total"):
                    found[f"{name}_{sample.labels['direction']}"] += int(sample.value)
    return found


def measure(
    platform: process_set.ProcessSet, *, devices: int, megabytes: int, rounds: int
) -> Figures:
    """Run one job with all devices behind a leaf."""
    with (
        tempfile.TemporaryDirectory(prefix="propius-leaf-") as name,
        running_leaf(platform, Path(name)),
    ):
        bench = Bench(platform, Path(name), devices)
        with bench.client:
            before = moved(platform)
            timed = bench.case(f"{devices}x{megabytes}", rounds)
        after = moved(platform)
    every = (rounds + WARM_UP) * megabytes * 1_000_000
    gone = Counter(after)
    gone.subtract(before)
    return {
        "downloads_per_round": round(gone["web_down"] / every, 4),
        "partials_per_round": round(gone["web_up"] / every, 4),
        "past_the_leaf": gone["gateway_down"] + gone["gateway_up"],
        "devices": devices,
        "megabytes": megabytes,
        "s_per_round": timed[f"{devices}x{megabytes}_s_per_round"],
        "cpu_s_per_round": timed[f"{devices}x{megabytes}_cpu_s_per_round"],
    }


def main() -> None:
    """Start the platform and a leaf, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with process_set.running(PROPIUS_MIN_COHORT="2") as platform:
        figures = measure(platform, **vars(options))
    print(result.line("leaf", figures, TARGETS))


if __name__ == "__main__":
    main()
