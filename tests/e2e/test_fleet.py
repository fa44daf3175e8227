"""A simulated fleet against the real platform: rounds end, and the report agrees with the rows."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from benchmarks import fleet
from propius.client import Client
from propius.fleet import simulation
from propius.http_errors import ApiError
from tests.e2e.running import BASE_DIR, RunningPlatform, wait_until

DEVICES = 30


@pytest.fixture(scope="module")
def pool(platform: RunningPlatform):
    made = json.loads(
        platform.manage(
            "provision", "--tenant", "fleet", "--pool", "fleet-pool", "--devices", "100"
        ).splitlines()[-1]
    )
    with Client(platform.url, made["tenants"]["fleet"]["token"]) as client:
        yield client, made["enrolment_token"]


def submit(client: Client, **changes) -> str:
    digest = client.upload_parameters(save({"weight": np.zeros((64, 64), np.float32)}))
    spec = {
        "schema": 1,
        "name": "simulated",
        "workload": {"kind": "handler", "handler": "anything", "dataset": "any"},
        "parameters": digest,
        "rounds": {"count": 2, "demand": 8, "selection_s": 30, "deadline_s": 30},
        "pools": ["fleet-pool"],
    }
    return str(client.submit_job(spec | changes)["id"])


def options(platform: RunningPlatform, token: str, folder: Path, **changes) -> simulation.Options:
    found = {
        "url": platform.url,
        "token": token,
        "devices": DEVICES,
        "seed": 7,
        "handler_names": ("anything",),
        "kept": folder / "known.json",
    }
    return simulation.Options(**(found | changes))


async def simulate(wanted: simulation.Options, until) -> dict:
    """Run a fleet until ``until`` says so, in a thread."""
    stopping = asyncio.Event()
    running = asyncio.create_task(simulation.run(wanted, say=print, stopping=stopping))
    waiting = asyncio.create_task(asyncio.to_thread(until))
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    try:
        return await running
    finally:
        await waiting


async def joined(wanted: simulation.Options) -> dict[str, str]:
    """Run a fleet until all of it has joined; return its devices by their numbers."""
    await simulate(wanted, lambda: wait_until(wanted.kept.exists, lambda: "they do not join"))
    return json.loads(wanted.kept.read_text())["devices"]


async def test_a_fleet_serves_jobs_and_private_data_decides(platform, pool, tmp_path):
    client, token = pool
    jobs = [
        submit(client),
        submit(client, constraints={"private": {"examples": {"min": 150}}}),
    ]

    def finished() -> None:
        for job in jobs:
            assert client.wait(job, timeout_s=60)["status"] == "finished"

    report = await simulate(options(platform, token, tmp_path), finished)
    for job in jobs:
        assert client.job(job)["outcome"] == "completed"
    assert report["counts"]["accepted"] >= 32
    assert report["counts"]["binds"] >= report["counts"]["accepted"]
    assert report["counts"]["offers"] > 0
    assert report["declined"].get("private_constraint", 0) > 0
    assert report["bytes"]["up"] > 32 * 64 * 64 * 4
    assert report["seconds_by_percentile"]["bind"]["count"] == report["counts"]["binds"]
    assert 0 < report["utilisation"] <= 1
    assert "token" not in report["options"]


async def test_the_same_seed_is_the_same_devices_and_the_answers_are_kept(platform, pool, tmp_path):
    _, token = pool
    known = await joined(options(platform, token, tmp_path, devices=3, seed=11))
    assert len(known) == 3
    again = options(platform, token, tmp_path, devices=4, seed=11, kept=tmp_path / "b")
    assert known.items() <= (await joined(again)).items()


async def test_a_token_of_nobody_ends_it_at_once(platform, tmp_path):
    wanted = options(platform, "ppe_nobody", tmp_path)
    with pytest.raises(ApiError, match="token"):
        await simulation.run(wanted, say=print, stopping=asyncio.Event())


def test_the_command_prints_how_it_goes_and_saves_the_report(platform, pool, tmp_path):
    _, token = pool
    command = [
        str(Path(sys.executable).with_name("propius")), "fleet", "simulate", "--url", platform.url,
        "--token", token, "--devices", "5", "--trace", "diurnal", "--speed-up", "3600",
        "--compute", "none", "--seconds", "2", "--save", "report.json",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "online" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["sign_ins"] > 0


async def test_the_benchmark_counts_check_ins_and_memory(platform, pool, tmp_path):
    _, token = pool
    few = options(platform, token, tmp_path, devices=5, seed=fleet.SEED)
    assert len(await joined(few)) == 5
    asked = {"devices": 5, "every_s": 1.0, "seconds": 1.5, "known": str(few.kept)}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "benchmarks.fleet", "--child", json.dumps(asked)],
        cwd=BASE_DIR, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(fleet.TARGETS) <= set(figures)
    assert figures["check_ins_per_minute"] > 0
    assert figures["kb_per_device"] > 0
