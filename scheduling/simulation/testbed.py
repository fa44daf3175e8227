"""Propius' five-job testbed: phones by their specifications, online by the hour of the day."""

from __future__ import annotations

import csv
import itertools
import json
import math
import random
from pathlib import Path

from scheduling.simulation.classes import TYPICAL_COMPUTATION_MS
from scheduling.simulation.traces import Fleet, SimulatedJob

HOUR_S = 3_600.0
TRACE, PROFILE = "job_trace_5", "dummy"
CONDITIONS = (
    ("pub_cpu_f", "cpu_f"), ("pub_ram", "ram_gb"), ("pub_fp16_mem", "fp16_mem"),
    ("pub_android_os", "android_os"),
)  # fmt: skip


def load(folder: Path, *, devices: int, seed: int = 0) -> tuple[Fleet, list[SimulatedJob]]:
    """Return ``devices`` phones and the five jobs of the paper's testbed.

    A device is online while its own threshold is below the share of devices online at that hour,
    as read off the published curve; so each has its daily session. A task is the profile's local
    steps × batch size samples at the phone's speed, and two transfers.
    """
    draw = random.Random(seed)
    phones = _rows(folder / "device_spec_speed.csv")
    clients = [int(row["samples"]) for row in _rows(folder / "client_dataset_size_head.csv")]
    curve = [float(row["share"]) for row in _rows(folder / "availability_hourly_5000.csv")]
    jobs, conditions = _jobs(folder)
    kinds: dict[frozenset[str], int] = {}
    sessions = []
    for number in range(devices):
        phone = draw.choice(phones)
        members = frozenset(
            group
            for group, wanted in conditions.items()
            if all(float(phone[has]) >= least for has, least in wanted.items())
        )
        kind = kinds.setdefault(members, len(kinds))
        samples = draw.choice(clients)
        kbps = 10_000.0 * math.exp(0.8 * draw.gauss(0, 1))
        for start, end in _online(curve, draw.random()):
            sessions.append((start, end, kind, float(phone["speed_ms"]), kbps, number, samples))
    sessions.sort()
    starts, ends, kind_of, speeds, links, owners, held = zip(*sessions, strict=True)
    fleet = Fleet(
        starts=starts, ends=ends, signatures=kind_of, groups=tuple(kinds),
        computation_ms=speeds, communication_kbps=links, period_s=len(curve) * HOUR_S,
        devices=owners, samples=held,
    )  # fmt: skip
    return fleet, jobs


def _jobs(folder: Path) -> tuple[list[SimulatedJob], dict[str, dict[str, float]]]:
    profiles = {
        int(row["job"]): row
        for row in _rows(folder / "propius_job_profiles.csv")
        if row["profile"] == PROFILE
    }
    trace = json.loads((folder / "propius_arrival_traces.json").read_text())[TRACE]
    jobs, conditions, at = [], {}, 0.0
    for gap, index in trace:
        at += gap
        row = profiles[index]
        wanted = {has: float(row[asked]) for asked, has in CONDITIONS}
        group = ",".join(f"{name}>={least:g}" for name, least in wanted.items())
        conditions[group] = wanted
        samples = int(row["local_steps"]) * int(row["batch_size"])
        jobs.append(
            SimulatedJob(
                id=str(index),
                arrival_s=at,
                group=group,
                participants=int(row["demand"]),
                rounds=int(row["total_round"]),
                deadline_s=float(row["sched_timeout"]) + float(row["exec_timeout"]),
                workload_s=samples * TYPICAL_COMPUTATION_MS / 1_000.0,
                over_selection=float(row["over_selection"]),
                min_samples=int(row["priv_min_samples"]),
            )
        )
    return jobs, conditions


def _online(curve: list[float], threshold: float) -> list[tuple[float, float]]:
    """Return the spans in which the hourly curve, joined by lines, is above ``threshold``."""
    spans: list[tuple[float, float]] = []
    since = 0.0 if curve[0] > threshold else math.nan
    for hour, (one, other) in enumerate(itertools.pairwise(curve)):
        if (one > threshold) == (other > threshold):
            continue
        at = (hour + (threshold - one) / (other - one)) * HOUR_S
        if other > threshold:
            since = at
        else:
            spans.append((since, at))
            since = math.nan
    if not math.isnan(since):
        spans.append((since, len(curve) * HOUR_S))
    return [(start, end) for start, end in spans if end - start > 1.0]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
