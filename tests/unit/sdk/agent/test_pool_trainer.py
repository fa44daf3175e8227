"""The agent's trainer with a real child process: a handler of the owner's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propius import arrays, codec, tensors
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


@pytest.mark.parametrize("name", ["update.raw.part", "update.safetensors"])
async def test_a_result_that_finds_no_room_is_the_disks_fault(
    tmp_path: Path, pool: TrainerPool, name: str
) -> None:
    """In the child, and where it is encoded."""
    one = work(tmp_path, "train")
    (tmp_path / "device" / name).symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="No space left") as caught:
        await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
    assert caught.value.code == "disk"


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


def remembering(tmp_path: Path, name: str, **changes: Any) -> LocalWork:
    one = work(tmp_path / name, "train", **changes)
    return dataclasses.replace(
        one, memory=tmp_path / "memory", remembered=one.output.with_suffix(".memory")
    )


async def test_a_difference_codec_sends_what_training_changed(
    tmp_path: Path, pool: TrainerPool
) -> None:
    one = work(tmp_path, "train", codec="delta-int8")
    arrays.save_file({"w": np.full(4, 100, np.float32)}, one.parameters)
    await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
    update = arrays.load(one.output)
    assert update["w"].tolist() == [127] * 4
    assert update["w@scale"].tolist() == pytest.approx([1 / 127])


@pytest.mark.parametrize("name", sorted(codec.CODECS))
async def test_a_half_precision_model_travels_in_every_codec(
    tmp_path: Path, pool: TrainerPool, name: str
) -> None:
    one = remembering(tmp_path, "1", codec=name)
    arrays.save_file({"w": np.full((3, 40), 0.5, np.float16)}, one.parameters)
    await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
    model = {"w": tensors.TensorInfo("F16", (3, 40))}
    header = tensors.read_header(one.output)
    tensors.check_matches(header, codec.on_the_wire(model, codec=name))
    codec.check_values(one.output, codec=name, expected=model)


async def test_what_top_k_left_out_comes_with_the_next_update(
    tmp_path: Path, pool: TrainerPool
) -> None:
    first = remembering(tmp_path, "1", codec="topk1")
    await PoolTrainer(pool).run(first, timeout_s=20, progress=lambda part: None)
    sent = arrays.load(first.output)
    assert (sent["w"].tolist(), len(sent["w@index"])) == ([1.0], 1)
    assert first.remembered is not None
    first.remembered.rename(tmp_path / "memory")
    second = remembering(tmp_path, "2", codec="topk1")
    await PoolTrainer(pool).run(second, timeout_s=20, progress=lambda part: None)
    again = arrays.load(second.output)
    assert again["w"].tolist() == [2.0]
    assert again["w@index"] != sent["w@index"]


async def test_local_tensors_stay_on_the_device_and_go_on_from_there(
    tmp_path: Path, pool: TrainerPool
) -> None:
    workload = {
        "kind": "handler", "handler": "logistic", "dataset": "digits",
        "config": {"lr": 0.5}, "local": ["bn*"],
    }  # fmt: skip
    model = {"w": np.zeros(4, np.float32), "bn.weight": np.zeros(2, np.float32)}
    for turn in (1, 2):
        one = remembering(tmp_path, str(turn))
        assigned = assignment(workload=workload)
        one = dataclasses.replace(one, assignment=assigned)
        arrays.save_file(model, one.parameters)
        await PoolTrainer(pool).run(one, timeout_s=20, progress=lambda part: None)
        assert list(arrays.load(one.output)) == ["w"]
        assert one.remembered is not None
        one.remembered.rename(tmp_path / "memory")
        assert arrays.load(tmp_path / "memory")["local/bn.weight"].tolist() == [turn, turn]
