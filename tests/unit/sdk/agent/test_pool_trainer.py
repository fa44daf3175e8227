"""The agent's trainer with a real child process: a handler of the owner's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propius import arrays
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.trainer import LocalWork, TrainingError
from propius.training.pool import TrainerPool
from tests.unit.sdk.agent.scripted import assignment, device_home

HANDLER = """
import sys
from propius import Result

def train(parameters, config, data):
    assert "torch" not in sys.modules
    moved = {name: array + 1 for name, array in parameters.items()}
    return Result(moved, examples=len(data["y"]), metrics={"lr": config["lr"]})

def evaluate(parameters, config, data):
    return Result({}, examples=len(data["y"]), metrics={"accuracy": 0.5})

def fail(parameters, config, data):
    raise KeyError("oncology-west-7")
"""


@pytest.fixture
async def pool(tmp_path: Path) -> Any:
    (tmp_path / "owner_handlers.py").write_text(HANDLER)
    async with TrainerPool(1, 512, import_paths=[str(tmp_path)]) as one:
        yield one


def work(tmp_path: Path, function: str, **changes: Any) -> LocalWork:
    home = device_home(tmp_path / "device")
    arrays.save_file({"w": np.zeros(4, np.float32), "n": np.zeros(2, np.int64)}, home / "model")
    workload = {
        "kind": "handler", "handler": "logistic", "dataset": "digits", "config": {"lr": 0.5}
    }  # fmt: skip
    return LocalWork(
        assignment=assignment(workload=workload, **changes),
        parameters=home / "model",
        program=None,
        dataset=home / "digits.npz",
        handler=f"owner_handlers:{function}",
        output=home / "update.safetensors",
    )


async def test_a_handler_trains_and_its_update_has_the_codec_and_no_integers(
    tmp_path: Path, pool: TrainerPool
) -> None:
    one = work(tmp_path, "train", codec="fp16")
    done = await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
    assert (done.weight, done.metrics) == (137.0, {"lr": 0.5})
    update = arrays.load(one.output)
    assert list(update) == ["w"]
    assert update["w"].dtype == np.float16
    assert update["w"].tolist() == [1, 1, 1, 1]
    assert not one.output.with_suffix(".raw").exists()


async def test_an_evaluation_uses_the_validation_split(tmp_path: Path, pool: TrainerPool) -> None:
    one = work(tmp_path, "evaluate", kind="evaluate")
    done = await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
    assert (done.weight, done.metrics) == (41.0, {"accuracy": 0.5})
    assert not one.output.exists()


async def test_a_failing_handler_and_an_update_over_the_cap_are_errors(
    tmp_path: Path, pool: TrainerPool
) -> None:
    with pytest.raises(TrainingError, match="oncology"):
        await PoolTrainer(pool).run(
            work(tmp_path / "a", "fail"), timeout_s=20, progress=lambda part: None
        )
    one = work(tmp_path / "b", "train", max_update_bytes=10)
    with pytest.raises(TrainingError, match="at most 10") as caught:
        await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
    assert caught.value.code == "update_too_large"
