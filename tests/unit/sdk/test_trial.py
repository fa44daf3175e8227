"""`propius try`: dealing, the steps by hand, and a whole job in one command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from propius import arrays, trial
from propius.cli import app
from propius.program import container
from tests.unit.sdk.program.programs import linear, linear_parameters

JOB: dict[str, Any] = {
    "schema": 1, "name": "line",
    "rounds": {"count": 6, "demand": 3, "min_cohort": 1, "deadline_s": 60},
    "codec": "delta-fp16",
}  # fmt: skip
HANDLER = """
import propius
app = propius.App()

@app.train("mean")
def train(parameters, config, data):
    return propius.Result({"w": data["x"].mean(axis=0)}, examples=len(data["x"]))
"""


def written(folder: Path, **changes: Any) -> Path:
    """Write a job of y = x·(1, 2) + 3, its program, its parameters and its data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 2)).astype(np.float32)
    y = (x @ np.array([[1], [2]], np.float32) + 3).astype(np.float32)
    np.savez(folder / "line.npz", x_train=x[:100], y_train=y[:100], x_val=x[100:], y_val=y[100:])
    (folder / "line.program").write_bytes(container.dump(linear()))
    arrays.save_file(linear_parameters(), folder / "start.safetensors")
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("line.program", "start.safetensors")
    }
    workload = {
        "kind": "program", "program": digests["line.program"], "dataset": "line",
        "train": {"learning_rate": 0.1, "batch_size": 8},
    }  # fmt: skip
    job = {**JOB, "workload": workload, "parameters": digests["start.safetensors"], **changes}
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job.json"


def tried(folder: Path, *more: str) -> Any:
    model = str(folder / "model.safetensors")
    given = ["try", str(folder / "job.json"), "--data", str(folder), "--save", model]
    return CliRunner().invoke(app, [*given, "--devices", "3", *more])


def test_hands_are_dealt_whole_and_less_alike_the_smaller_alpha_is() -> None:
    labels = np.arange(600) % 6
    spread = {}
    for how in ("iid", "dirichlet:100", "dirichlet:0.1"):
        hands = trial.deal(labels, 5, how, seed=3)
        assert sorted(np.concatenate(hands).tolist()) == list(range(600))
        assert min(map(len, hands)) >= 2
        spread[how] = np.std([np.bincount(labels[hand], minlength=6) for hand in hands])
    assert spread["dirichlet:0.1"] > 3 * spread["dirichlet:100"]


@pytest.mark.parametrize(
    ("labels", "how", "words"),
    [
        (np.arange(10), "shards:2", "allowed: iid, dirichlet:0.5"),
        (np.arange(10), "dirichlet:0", "above 0"),
        (np.ones(10, np.float32), "dirichlet:1", "whole-number labels"),
        (np.arange(3), "iid", "3 examples do not give 2 devices"),
    ],
)
def test_what_cannot_be_dealt_is_named(labels: Any, how: str, words: str) -> None:
    with pytest.raises(trial.TrialError, match=words):
        trial.deal(labels, 2, how)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("fedavg", (1 * 4 + 3 * 8) / 4),
        ("fedprox", (1 * 4 + 3 * 8) / 4),
        # 4 in two steps, 8 in eight: Σ p·Δ/τ = 0.25·2 + 0.75·1, times 0.25·2 + 0.75·8 steps.
        ("fednova", (0.25 * 2 + 0.75 * 1) * 6.5),
    ],
)
def test_a_step_by_hand(strategy: str, expected: float) -> None:
    sent = [({"w": np.full(2, 4.0)}, 1.0, 2.0), ({"w": np.full(2, 8.0)}, 3.0, 8.0)]
    after = trial.fold(strategy, {"w": np.zeros(2, np.float32)}, sent)
    assert after["w"] == pytest.approx(np.full(2, expected))
    assert after["w"].dtype == np.float32


@pytest.mark.torch
def test_one_command_trains_a_job_without_a_server(tmp_path: Path) -> None:
    written(tmp_path, strategy={"name": "fednova"})
    done = tried(tmp_path, "--output", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    losses = [one["validation"]["loss"] for one in told["rounds"]]
    assert [one["number"] for one in told["rounds"]] == [1, 2, 3, 4, 5, 6]
    assert losses[-1] < 0.1 * losses[0]
    model = arrays.load(told["model"])
    assert model["weight"][0] == pytest.approx([1, 2], abs=0.3)


def test_a_handler_is_tried_by_its_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_means.py").write_text(HANDLER)
    monkeypatch.chdir(tmp_path)
    workload = {"kind": "handler", "handler": "mean", "dataset": "line"}
    arrays.save_file({"w": np.zeros(2, np.float32)}, tmp_path / "mean.safetensors")
    digest = hashlib.sha256((tmp_path / "mean.safetensors").read_bytes()).hexdigest()
    written(tmp_path, workload=workload, parameters=digest)
    done = tried(tmp_path, "--app", "my_means:app", "--rounds", "1")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("round 1: 3 devices")
    with np.load(tmp_path / "line.npz") as data:
        mean = data["x_train"].mean(axis=0)
    assert arrays.load(tmp_path / "model.safetensors")["w"] == pytest.approx(mean, abs=0.01)
    assert "app module:name" in tried(tmp_path).output


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"strategy": {"name": "fedadam"}}, 1, "allowed: fedavg, fedprox, fednova"),
        ({"parameters": "f" * 64}, 2, "parameters: no file in"),
        (
            {"workload": {"kind": "query", "handler": "ages", "dataset": "line"}, "codec": "fp32"},
            1,
            "a query cannot be tried",
        ),
    ],
)
def test_what_cannot_be_tried_is_said(
    tmp_path: Path, changes: Any, status: int, words: str
) -> None:
    written(tmp_path, **changes)
    done = tried(tmp_path)
    assert done.exit_code == status
    assert words in done.output.replace("\n", " ")


@pytest.mark.torch
def test_what_the_job_holds_out_does_not_train(tmp_path: Path) -> None:
    written(tmp_path, evaluation={"every": 1, "fraction": 0.3})
    done = tried(tmp_path, "--rounds", "1")
    assert done.exit_code == 0, done.output
    assert "round 1: 2 devices" in done.output
