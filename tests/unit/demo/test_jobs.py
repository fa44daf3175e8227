"""The demo's job files, its handler and its own measuring."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demo import data, handlers, jobs
from propius import arrays, spec

DIGEST = "0" * 64


@pytest.mark.parametrize("job", jobs.JOBS, ids=lambda job: job.name)
def test_each_job_file_is_valid(job: jobs.DemoJob) -> None:
    program = DIGEST if job.program else None
    parsed = spec.parse(job.complete(parameters=DIGEST, program=program))
    assert parsed.name == job.name
    assert parsed.rounds.demand == 8
    assert parsed.evaluation.every > 0


def test_the_jobs_are_two_programs_and_a_handler_of_two_tenants() -> None:
    assert [job.tenant for job in jobs.JOBS].count(jobs.GLOBEX) == 2
    assert sorted(job.spec["workload"]["kind"] for job in jobs.JOBS) == [
        "handler",
        "program",
        "program",
    ]
    assert all("private" in j.spec["constraints"] for j in jobs.JOBS if j.program == "cnn")


def test_logistic_regression_takes_the_gradient_step_worked_out_by_hand() -> None:
    x = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    y = np.array([1, 0])
    start = {"weight": np.zeros(2, np.float32), "bias": np.zeros(1, np.float32)}
    result = handlers.train(start, {"learning_rate": 1.0, "steps": 1}, {"x": x, "y": y})
    # p = ½ for both, so the errors are −½ and ½: ∇w = (−¼, ½), ∇b = 0.
    assert result.parameters["weight"].tolist() == [0.25, -0.5]
    assert result.parameters["bias"].tolist() == [0.0]
    assert result.examples == 2
    assert result.metrics["loss"] == pytest.approx(np.log(2))
    assert start["weight"].tolist() == [0.0, 0.0]


def test_logistic_regression_over_all_examples_reaches_its_target(tmp_path: Path) -> None:
    job = next(job for job in jobs.JOBS if job.program is None)
    train = data.breast_cancer().train
    config = {"learning_rate": 0.5, "steps": 100}
    result = handlers.train(handlers.initial(), config, {"x": train.x, "y": train.y})
    path = tmp_path / "model.safetensors"
    path.write_bytes(arrays.save(dict(result.parameters)))
    assert jobs.accuracy(job, path) >= job.target


def test_the_handler_never_loads_torch() -> None:
    code = "import sys, demo.handlers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_networks_export_and_are_measured(tmp_path: Path) -> None:
    from demo import models

    models.export_all(tmp_path)
    for job in jobs.JOBS:
        if job.program is not None:
            assert (tmp_path / f"{job.program}.program").stat().st_size > 0
            # Untrained: about one digit in ten.
            assert jobs.accuracy(job, tmp_path / f"{job.program}.safetensors") < 0.4
