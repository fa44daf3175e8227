"""Workloads without torch against the real platform: an app's functions, a query, a plain loop."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file, save
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from docs.examples import sklearn_linear
from propius import queries
from propius.cli import app as commands
from tests.e2e.fleet import Fleet
from tests.e2e.running import BASE_DIR, RunningPlatform

DEVICES = 5
PASSWORD = "one for the owner of app"
EXAMPLES = BASE_DIR / "docs" / "examples"


def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    platform.manage("provision", "--tenant", "app", "--pool", "app-pool", "--password", PASSWORD)
    fleet = Fleet(platform, tmp_path_factory.mktemp("app"), slug="app", count=DEVICES)
    x, y = digits()
    for index, mine in enumerate(np.array_split(np.arange(1500), DEVICES)):
        home, held = fleet.folder / f"d{index:02}", mine[-30:]
        np.savez(
            home / "data.npz", x_train=x[mine], y_train=y[mine], x_val=x[held], y_val=y[held]
        )  # fmt: skip
        done = CliRunner().invoke(
            commands,
            ["device", "register", "docs.examples.sklearn_linear:app", "--home", str(home)],
        )
        assert done.exit_code == 0, done.output
        assert "registered linear: train, evaluate" in done.output
        with (home / "handlers.toml").open("a") as file:
            for name in ("take_all_memory", "break_down"):
                file.write(f'[{name}]\ntrain = "tests.e2e.handlers:{name}"\n')
    try:
        yield fleet.start()
    finally:
        fleet.stop()


def job(fleet: Fleet, parameters: bytes, workload: dict[str, Any], **more: Any) -> dict[str, Any]:
    digest = fleet.client.upload_parameters(parameters)
    spec = {
        "schema": 1, "name": workload["handler"], "workload": {"dataset": "numbers", **workload},
        "parameters": digest, "pools": [fleet.pool],
        "rounds": {"count": 1, "demand": DEVICES, "selection_s": 30, "deadline_s": 30, "quorum": 1},
    }  # fmt: skip
    found = fleet.client.submit_job({**spec, **more})
    ended = fleet.client.wait(found["id"], timeout_s=150, every_s=0.4)
    assert ended["outcome"] == "completed", f"{ended['waiting']}\n{fleet.log()}"
    return ended


def test_a_linear_model_of_scikit_learns_is_trained_and_evaluated_by_an_apps_functions(
    fleet: Fleet, tmp_path: Path
) -> None:
    start = {"coef": np.zeros((10, 64), np.float32), "intercept": np.zeros(10, np.float32)}
    ended = job(
        fleet, save(start), {"kind": "handler", "handler": "linear", "config": {"epochs": 2}},
        rounds={"count": 2, "demand": DEVICES, "selection_s": 30, "deadline_s": 30},
        evaluation={"every": 1, "demand": DEVICES},
    )  # fmt: skip
    model = load_file(fleet.client.download(ended["id"], "latest", tmp_path / "model"))
    x, y = digits()
    right = (x[1500:] @ model["coef"].T + model["intercept"]).argmax(axis=1) == y[1500:]
    assert right.mean() > 0.8
    rounds = fleet.client.rounds(ended["id"])
    measured = [one["metrics"]["accuracy"] for one in rounds if one["kind"] == "evaluate"]
    assert measured
    assert all(one > 0.8 for one in measured)


def test_a_query_sums_the_answers_of_its_cohort(fleet: Fleet, tmp_path: Path) -> None:
    empty = sklearn_linear.answer(np.empty((0, 64)), np.empty(0))
    ended = job(fleet, queries.form(empty), {"kind": "query", "handler": "classes"})
    x, y = digits()
    answer = load_file(fleet.client.download(ended["id"], "latest", tmp_path / "answer"))
    assert answer["class"].tolist() == np.bincount(y[:1500], minlength=10).tolist()
    [one] = fleet.client.rounds(ended["id"])
    assert one["metrics"]["class[3]"] == answer["class"][3]
    assert one["metrics"]["pixel/mean"] == pytest.approx(float(x[:1500].mean()), rel=1e-5)


def page_of(fleet: Fleet, job_id: str, *, until: str) -> str:
    """Return the job's page, as the tenant's owner sees it, once it says ``until``."""
    with httpx.Client(base_url=fleet.platform.url, follow_redirects=True) as browser:
        form = browser.get("/sign-in/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        assert token is not None
        browser.post(
            "/sign-in/",
            data={"username": "app-owner", "password": PASSWORD, "csrfmiddlewaretoken": token[1]},
            headers={"referer": str(form.url)},
        )
        deadline = time.monotonic() + 30
        while until not in (page := browser.get(f"/jobs/{job_id}/").text):
            assert time.monotonic() < deadline, f"{page}\n{fleet.log()}"
            time.sleep(0.1)
        return page


@pytest.mark.parametrize(
    ("handler", "words", "code"),
    [
        ("take_all_memory", "ran out of memory: d-", "out_of_memory"),
        ("break_down", "failed in training: d-", "task_failed"),
    ],
)
def test_work_that_fails_is_told_on_the_jobs_page_and_in_the_devices_history(
    fleet: Fleet, handler: str, words: str, code: str
) -> None:
    digest = fleet.client.upload_parameters(save({"weight": np.zeros(8, np.float32)}))
    made = fleet.client.submit_job({
        "schema": 1, "name": handler, "parameters": digest, "pools": [fleet.pool],
        "workload": {"kind": "handler", "handler": handler, "dataset": "numbers"},
        "rounds": {"count": 1, "demand": DEVICES, "selection_s": 30, "deadline_s": 30},
    })  # fmt: skip
    page = page_of(fleet, made["id"], until=words)
    fleet.client.cancel(made["id"])
    assert "ward 3, bed 7" not in page  # what a handler says stays on the device
    told = []
    for index in range(DEVICES):
        home = str(fleet.folder / f"d{index:02}")
        done = CliRunner().invoke(
            commands, ["device", "history", "--home", home, "--output", "json"]
        )  # fmt: skip
        told += [one["outcome"] for one in json.loads(done.output) if one["job_name"] == handler]
    assert f"failed ({code})" in told


def test_an_existing_script_takes_part_by_receive_and_send(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    plain = Fleet(platform, tmp_path, slug="plain", count=DEVICES)
    logs = [(tmp_path / f"{index}.log").open("wb") for index in range(DEVICES)]
    scripts = [
        subprocess.Popen(
            [sys.executable, str(EXAMPLES / "plain_loop.py"), str(tmp_path / f"d{index:02}")],
            stdout=log,
            stderr=log,
        )
        for index, log in enumerate(logs)
    ]
    try:
        start = save({"mean": np.zeros(1, np.float32)})
        ended = job(plain, start, {"kind": "handler", "handler": "plain"})
    finally:
        for one in scripts:
            one.send_signal(signal.SIGINT)
        statuses = [one.wait(timeout=120) for one in scripts]
        for log in logs:
            log.close()
    assert statuses == [0] * DEVICES, "".join(
        (tmp_path / f"{index}.log").read_text() for index in range(DEVICES)
    )
    model = load_file(plain.client.download(ended["id"], "latest", tmp_path / "model"))
    # Device i holds i % 3 + 1 examples of the number i.
    weights = np.arange(DEVICES) % 3 + 1
    assert model["mean"][0] == pytest.approx((weights * np.arange(DEVICES)).sum() / weights.sum())
    plain.client.close()
