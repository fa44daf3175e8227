"""A job that is evaluated where it never trains, by a simulated fleet that really computes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from jobs import holdout
from propius.client import Client
from tests.e2e.fleet import rows
from tests.e2e.running import RunningPlatform

DEVICES = 40
"""Half are held out: that fewer than five are on one side comes once in five million runs."""
ROUNDS = 3
HANDLERS = """
import numpy as np
from propius.training.result import Result

def scored(parameters, data):
    sums = data["x"] @ parameters["w"]
    right = (sums > 0) == (data["y"] > 0)
    return {"loss": float(np.exp(-sums * data["y"]).mean()), "accuracy": float(right.mean())}

def train(parameters, config, data):
    step = (data["x"] * data["y"][:, None]).mean(axis=0)
    found = {"w": (parameters["w"] + step).astype(np.float32)}
    return Result(found, examples=len(data["x"]), metrics={"loss": 9.0, "accuracy": 0.0})

def evaluate(parameters, config, data):
    return Result({}, examples=len(data["x"]), metrics=scored(parameters, data))
"""


@pytest.fixture(scope="module")
def tenant(platform: RunningPlatform) -> dict[str, Any]:
    return json.loads(
        platform.manage(
            "provision", "--tenant", "heldout", "--pool", "heldout-pool", "--devices", "100"
        ).splitlines()[-1]
    )


@pytest.fixture
def fleet(
    platform: RunningPlatform, tenant: dict[str, Any], tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``propius fleet simulate --compute real`` as a user does."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3)).astype(np.float32)
    y = np.sign(x @ np.array([1.0, -2.0, 0.5])).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_train=x[:300], y_train=y[:300], x_val=x[300:], y_val=y[300:])
    (tmp_path / "lines.py").write_text(HANDLERS)
    (tmp_path / "handlers.toml").write_text(
        '[lines]\ntrain = "lines:train"\nevaluate = "lines:evaluate"\n'
    )
    command = [
        str(Path(sys.executable).with_name("propius")), "fleet", "simulate", "--url", platform.url,
        "--token", tenant["enrolment_token"], "--devices", str(DEVICES), "--seed", "23",
        "--compute", "real", "--data", "d.npz", "--handlers", "handlers.toml",
        "--save", "report.json",
    ]  # fmt: skip
    with (tmp_path / "fleet.log").open("wb") as log:
        running = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )  # fmt: skip
    try:
        yield running
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(timeout=30)


def test_a_job_is_evaluated_only_where_it_never_trains(
    platform: RunningPlatform,
    tenant: dict[str, Any],
    fleet: subprocess.Popen[bytes],
    tmp_path: Path,
) -> None:
    with Client(platform.url, tenant["tenants"]["heldout"]["token"]) as client:
        spec = {
            "schema": 1,
            "name": "held out",
            "workload": {"kind": "handler", "handler": "lines", "dataset": "any"},
            "parameters": client.upload_parameters(save({"w": np.zeros(3, np.float32)})),
            "rounds": {"count": ROUNDS, "demand": 5, "selection_s": 30, "deadline_s": 30},
            "evaluation": {"every": 1, "demand": 5, "fraction": 0.5},
            "pools": ["heldout-pool"],
        }
        job = client.submit_job(spec).wait(timeout_s=90)
        log = (tmp_path / "fleet.log").read_text()
        assert job.outcome == "completed", f"{job.waiting}\n{log}\n{platform.logs()}"

        curve = job.metrics()
        assert curve["number"] == [1, 2, 3]
        assert min(curve["accuracy"]) > 0.8
        assert job.metrics("train")["accuracy"] == [0.0] * ROUNDS
        versions = {one.number: one for one in job.versions()}
        assert [versions[n].evaluation["accuracy"] for n in (1, 2, 3)] == curve["accuracy"]
        model = load_file(job.download(tmp_path / "model"))
        assert model["w"][0] > 0 > model["w"][1]

    query = """
        SELECT r.kind, a.device_id::text, j.holdout_key, a.status, u.digest
        FROM jobs_assignment a JOIN jobs_round r ON r.id = a.round_id
        JOIN jobs_job j ON j.id = a.job_id
        LEFT JOIN aggregation_update u ON u.assignment_id = a.id
        WHERE a.job_id = %s
    """
    found = rows(platform, query, job.id)
    devices = {kind: {row[1] for row in found if row[0] == kind} for kind in ("train", "evaluate")}
    assert min(map(len, devices.values())) >= 5
    assert not devices["train"] & devices["evaluate"]
    for kind, device, key, status, digest in found:
        assert holdout.is_held_out(key, device, 0.5) == (kind == "evaluate")
        if kind == "evaluate" and status == "reported":
            assert digest == "", "an evaluation sends no update"

    fleet.send_signal(signal.SIGINT)
    assert fleet.wait(timeout=30) == 0, log
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["options"]["compute"] == "real"
    assert report["counts"]["accepted"] >= 5 * ROUNDS
    assert not report.get("failed"), report
