"""What a virtual device of ``propius fleet simulate`` costs: memory, and processor time a check-in.

    make bench NAME=fleet                            # 3 000 devices, each a check-in a minute
    make bench NAME=fleet ARGS="--devices 30 --every-s 2 --seconds 2"

The real process set, and one process with all devices, which has nothing of the platform in it.
Each device comes, signs in, checks in, waits, and goes, once in ``--every-s`` seconds, on a real
websocket with the agent's own session; it is connected nearly all the time. The first
round of that is not measured. ``kb_per_device`` is the process's resident memory less that before
the first device, by device that is online. ``devices_per_core`` is how many devices at a check-in a
minute would fill one core: check-ins a minute over the share of a core that they took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import process_set, result

DEVICES, EVERY_S, SECONDS, SEED = 3_000, 60.0, 60.0, 7
AWAY_SHARE = 0.03
TARGETS = {
    "kb_per_device": ("<=", 60.0),
    "devices_per_core": (">=", 3000.0),
    "turned_away": ("==", 0),
}


def measure(platform: process_set.ProcessSet, options: argparse.Namespace) -> dict[str, Any]:
    """Enrol the fleet, and run it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.json"
        _enrol(platform, options.devices, known)
        asked = json.dumps(vars(options) | {"known": str(known)})
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fleet", "--child", asked],
            cwd=result.ROOT, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _enrol(platform: process_set.ProcessSet, count: int, known: Path) -> None:
    """Enrol in bulk, past the service, whose each would be a transaction."""
    from django.utils import timezone

    from clients import models
    from clients import services as clients_services
    from core.ids import uuid7
    from propius.fleet.enrolling import key_of

    now = timezone.now()
    pool = clients_services.create_pool(name="fleet", tenant_id=None, now=now)
    rows = [
        models.Device(
            id=uuid7(),
            pool=pool,
            name=f"virtual-{number}",
            public_key=key_of(SEED, number).public_key().public_bytes_raw().hex(),
            enrolled_at=now,
        )
        for number in range(count)
    ]
    models.Device.objects.bulk_create(rows, batch_size=2000)
    gateway = f"ws://127.0.0.1:{platform.gateway_port}/device/v1"
    devices = {number: str(row.id) for number, row in enumerate(rows)}
    known.write_text(json.dumps({"gateway": gateway, "devices": devices}))


async def child(options: argparse.Namespace) -> dict[str, Any]:
    """Run the fleet, and measure this process once it is full."""
    from propius.fleet import availability, simulation
    from propius.fleet.record import Record

    process, stopping = psutil.Process(), asyncio.Event()
    gc.collect()
    empty, record = process.memory_info().rss, Record(options.devices)
    asked = simulation.Options(
        url="http://unused", token="", devices=options.devices, seed=SEED, compute="none",
        per_s=1e6, kept=Path(options.known),
    )  # fmt: skip
    every_s = options.every_s
    away_s = AWAY_SHARE * every_s
    running = asyncio.create_task(
        simulation.run(
            asked, say=lambda _: None, stopping=stopping, record=record,
            trace=availability.cycle(every_s - away_s, away_s),
        )
    )  # fmt: skip
    await asyncio.wait({running}, timeout=every_s + 2.0)
    began, used, before = time.monotonic(), time.process_time(), record.counts["check_ins"]
    await asyncio.wait({running}, timeout=options.seconds)
    seconds, used = time.monotonic() - began, time.process_time() - used
    gc.collect()
    full, online = process.memory_info().rss, record.online
    check_ins = record.counts["check_ins"] - before
    stopping.set()
    report = await running
    per_minute = check_ins * 60 / seconds
    return {
        "devices": options.devices,
        "online": online,
        "kb_per_device": round((full - empty) / 1024 / max(1, online), 2),
        "check_ins_per_minute": round(per_minute, 1),
        "core_share": round(used / seconds, 4),
        "cpu_ms_per_check_in": round(used * 1e3 / max(1, check_ins), 3),
        "devices_per_core": round(per_minute * seconds / max(used, 1e-9)),
        "turned_away": sum(report["retried"].values()) + report["counts"]["unreachable"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--every-s", type=float, default=EVERY_S)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        asked = argparse.Namespace(**json.loads(options.child))
        print(json.dumps(asyncio.run(child(asked))))
        return
    with process_set.running() as platform:
        print(result.line("fleet", measure(platform, options), TARGETS))


if __name__ == "__main__":
    main()
