"""How long a round takes when training takes no time: all processes on this machine, FedAvg.

    make bench NAME=round
    .venv/bin/python -m benchmarks.round --cases 2x1,20x1 --rounds 10

The real process set (with the floor of ``min_cohort`` at 2) and real agents in one process of
their own, each with its own cache: every device downloads and uploads all parameters every round.
A case is ``devices x megabytes``. ``s_per_round`` is the median from the opening of one round to
that of the next. The hops are medians from the rows: ``bind_ms`` from opening until the last
device has a row, ``device_ms`` until its last report is counted (download, no-op, upload, checks),
``close_ms`` until the next round is open (fold, step, new version). ``cpu_s_per_round`` is the
CPU of each process; ``agents`` are the devices.

``bare_s`` is what the bytes alone take on this machine: as many clients in one process, each down
and up over a websocket at once, against ``benchmarks.bare``, which only hashes and fsyncs. No
platform is below it. ``times_flower`` is over Flower 1.41 in deployment mode, which took
``FLOWER_S`` a round for the same work on two such cores (measured once, by hand).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import uvloop

from benchmarks import process_set, result
from benchmarks.agents import ATTRIBUTES, Folders
from benchmarks.transfer import Yardstick, bare_server
from propius import arrays
from propius.agent import enrolment
from propius.agent.identity import Home
from propius.client import Client

CASES = {"2x1": 40, "10x10": 8, "20x1": 30, "200x1": 6}
WARM_UP = 2
BARE_TURNS = 5
FLOWER_S = {"2x1": 6.2, "10x10": 17.0, "20x1": 27.0}
TARGETS = {
    "2x1_s_per_round": ("<=", 0.25),
    "10x10_rounds_per_s": (">=", 1.0),
    "10x10_mb_per_s_each_way": (">=", 100.0),
    "20x1_rounds_per_s": (">=", 4.0),
    "200x1_rounds_per_s": (">=", 0.5),
    "2x1_times_flower": (">=", 20.0),
    "10x10_times_flower": (">=", 8.0),
    "20x1_times_flower": (">=", 20.0),
}
Figures = dict[str, Any]


class Bench:
    """One tenant, and as many enrolled devices as the largest case needs."""

    def __init__(self, platform: process_set.ProcessSet, folder: Path, devices: int) -> None:
        from django.utils import timezone

        from clients import services as client_services
        from tenants import services as tenant_services

        self.platform, self.folder = platform, folder
        now = timezone.now()
        tenant = tenant_services.create_tenant(slug="round", name="Round", now=now)
        _, secret = tenant_services.create_token(
            tenant_id=tenant.id, name="bench", scopes=None, created_by="bench", now=now
        )
        pool = client_services.create_pool(name="round", tenant_id=None, now=now)
        _, token = client_services.create_enrolment_token(
            pool=pool, name="bench", max_uses=devices, expires_at=now.replace(year=now.year + 1),
            created_by="bench", now=now,
        )  # fmt: skip
        url = f"http://127.0.0.1:{platform.web_port}"
        self.client = Client(url, secret)
        self.homes = [Home(folder / f"d{number:03}") for number in range(devices)]
        for home in self.homes:
            enrolment.enrol(url, token, home, overrides=ATTRIBUTES)
            row = np.zeros((1, 1), np.float32)
            np.savez(home / "data.npz", x_train=row, y_train=row, x_val=row, y_val=row)
            (home / "datasets.toml").write_text('[numbers]\npath = "data.npz"\n')
            (home / "handlers.toml").write_text('[noop]\ntrain = "benchmarks.agents:NoOp"\n')

    def case(self, name: str, rounds: int) -> Figures:
        """Run one job; return its figures, each named for the case."""
        devices, megabytes = (int(one) for one in name.split("x"))
        content = arrays.save({
            f"layer{n}.weight": np.ones((4, megabytes * 1_000_000 // 64), np.float32)
            for n in range(4)
        })  # fmt: skip
        digest = self.client.upload_parameters(content)
        with self._agents(devices, 3 * len(content)) as agents:
            job = self.client.submit_job(_spec(name, digest, devices, rounds + WARM_UP))["id"]
            self._wait_for_rounds(job, WARM_UP)
            before = self._cpu(agents)
            self.client.wait(job, timeout_s=600, every_s=0.2)
            after = self._cpu(agents)
        found = self.client.job(job)
        if found["outcome"] != "completed":
            raise SystemExit(f"{name}: {found['outcome']}: {found.get('reason')}")
        figures = _hops(job) | {
            "cpu_s_per_round": {
                program: round((after[program] - before[program]) / rounds, 4)
                for program in sorted(after)
                if after[program] - before[program] > 0.01
            }
        }
        sent = devices * len(content) / 1e6 * figures["rounds_per_s"]
        figures["mb_per_s_each_way"] = round(sent, 1)
        figures["bare_s"] = self._bare_s(content, devices)
        if name in FLOWER_S:
            figures["times_flower"] = round(FLOWER_S[name] / figures["s_per_round"], 1)
        return {f"{name}_{figure}": value for figure, value in figures.items()}

    def _bare_s(self, content: bytes, devices: int) -> float:
        updates = [content[:-4] + struct.pack("<f", float(number)) for number in range(devices)]
        with (
            tempfile.TemporaryDirectory(dir=self.platform.paths.home) as folder,
            bare_server(Path(folder) / "bare", content) as bare,
        ):
            return round(statistics.median(uvloop.run(_all_at_once(bare, updates))), 4)

    @contextmanager
    def _agents(self, devices: int, cache_bytes: int) -> Iterator[psutil.Process]:
        file = self.folder / "agents.json"
        homes = [str(home.path) for home in self.homes[:devices]]
        file.write_bytes(msgspec.json.encode(Folders(homes, cache_bytes)))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.agents", str(file)], cwd=process_set.ROOT
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _cpu(self, agents: psutil.Process) -> dict[str, float]:
        return self.platform.cpu_s() | {"agents": float(sum(agents.cpu_times()[:2]))}

    def _wait_for_rounds(self, job: str, count: int) -> None:
        from jobs.models import Round

        until = time.monotonic() + 120.0
        while Round.objects.filter(job_id=job, outcome="completed").count() < count:
            if time.monotonic() > until:
                raise SystemExit(f"no round ended: {self.client.job(job)}")
            time.sleep(0.02)


async def _all_at_once(bare: Yardstick, updates: list[bytes]) -> list[float]:
    took = []
    for _ in range(1 + BARE_TURNS):
        began = time.perf_counter()
        await asyncio.gather(*map(bare.websocket, updates))
        took.append(time.perf_counter() - began)
    return took[1:]


def _spec(name: str, digest: str, devices: int, rounds: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": f"round {name}",
        "workload": {"kind": "handler", "handler": "noop", "dataset": "numbers"},
        "parameters": digest,
        "rounds": {
            "count": rounds, "demand": devices, "min_cohort": min(5, devices),
            "selection_s": 120, "deadline_s": 120,
        },
        "retention": {"versions": 1},
    }  # fmt: skip


def _hops(job: str) -> Figures:
    from django.db.models import Max

    from jobs.models import Round

    rounds = Round.objects.filter(job_id=job, outcome="completed").order_by("number")
    moments = ("opened_at", "bound_at", "closed_at", "finished_at")
    found = rounds.annotate(bound_at=Max("assignments__bound_at")).values(*moments)
    rows = [{name: one[name].timestamp() for name in moments} for one in found][WARM_UP:]
    took = [later["opened_at"] - one["opened_at"] for one, later in itertools.pairwise(rows)]
    whole = rows[-1]["finished_at"] - rows[0]["opened_at"]

    def hop(first: str, last: str) -> float:
        spans = [float(one[last] - one[first]) for one in rows]
        return round(statistics.median(spans) * 1e3, 1)

    return {
        "s_per_round": round(statistics.median(took), 4),
        "rounds_per_s": round(len(rows) / whole, 3),
        "bind_ms": hop("opened_at", "bound_at"),
        "device_ms": hop("bound_at", "closed_at"),
        "close_ms": hop("closed_at", "finished_at"),
    }


def measure(platform: process_set.ProcessSet, cases: dict[str, int]) -> Figures:
    """Run the cases one after the other on one process set."""
    devices = max(int(name.split("x")[0]) for name in cases)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="propius-agents-") as folder:
        bench = Bench(platform, Path(folder), devices)
        with bench.client:
            for name, rounds in cases.items():
                figures |= bench.case(name, rounds)
    return figures


def main() -> None:
    """Start the platform, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, help="of each case, in place of its own number")
    options = parser.parse_args()
    cases = {name: options.rounds or CASES.get(name, 10) for name in options.cases.split(",")}
    with process_set.running(PROPIUS_MIN_COHORT="2") as platform:
        figures = measure(platform, cases)
    targets = {name: target for name, target in TARGETS.items() if name in figures}
    print(result.line("round", figures, targets))


if __name__ == "__main__":
    main()
