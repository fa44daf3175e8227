"""SCAFFOLD's device side by hand: what a device is told, adds, sends back and remembers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propius import arrays
from propius.agent import updates
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.trainer import LocalWork
from propius.program import container
from propius.program.schema import Parameter
from propius.training.pool import TrainerPool
from tests.unit.sdk.agent.scripted import assignment
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters

TRAIN = {"learning_rate": 0.1, "local_steps": 1, "batch_size": 2, "control_variates": True}


def save(path: Path, **tensors: Any) -> Path:
    arrays.save_file({name: np.array(one, np.float32) for name, one in tensors.items()}, path)
    return path


def work(folder: Path, program: container.Program | None = None, **changes: Any) -> LocalWork:
    (folder / "program").write_bytes(container.dump(program or linear()))
    arrays.save_file(linear_parameters(), folder / "model")
    data = {f"{name}_train": one for name, one in linear_data().items()}
    np.savez(folder / "data.npz", **data)
    told: dict[str, Any] = {
        "memory": folder / "memory", "control": None,
        "assignment": assignment(workload={"kind": "program", "dataset": "d", "train": TRAIN}),
    }  # fmt: skip
    return LocalWork(
        parameters=folder / "model",
        program=folder / "program",
        dataset=folder / "data.npz",
        handler=None,
        output=folder / "update",
        remembered=folder / "remembered",
        **told | changes,
    )


def test_the_first_round_sends_the_mean_gradient_and_remembers_it(tmp_path: Path) -> None:
    one = work(tmp_path)
    after = save(tmp_path / "after", weight=[[0.1, 0.4]], bias=[0.3])
    updates.write(one, after, walked=0.1)
    sent = arrays.load(one.output)
    # (x − y)/(K·η) with c = cᵢ = 0: the gradients of the linear model.
    assert set(sent) == {"weight", "bias", "control.weight", "control.bias"}
    np.testing.assert_allclose(sent["control.weight"], [[-1.0, -4.0]], rtol=1e-6)
    np.testing.assert_allclose(sent["control.bias"], [-3.0], rtol=1e-6)
    kept = arrays.load(tmp_path / "remembered")
    assert set(kept) == {"control/weight", "control/bias"}
    np.testing.assert_allclose(kept["control/bias"], [-3.0], rtol=1e-6)


@pytest.mark.torch
async def test_a_later_round_is_corrected_in_the_child(tmp_path: Path) -> None:
    control = save(tmp_path / "c", **{"weight/control": [[2.0, 0.0]], "bias/control": [1.0]})
    save(tmp_path / "memory", **{"control/weight": [[-1.0, 1.0]], "control/bias": [-1.0]})
    one = work(tmp_path, control=control)
    async with TrainerPool(1, 1024) as pool:
        await PoolTrainer(pool).run(one, timeout_s=60, progress=lambda part: None)
    sent, kept = arrays.load(one.output), arrays.load(tmp_path / "remembered")
    # g = [−1, −4] and −3; y = −0.1 · (g + c − cᵢ).
    np.testing.assert_allclose(sent["weight"], [[-0.2, 0.5]], rtol=1e-5)
    np.testing.assert_allclose(sent["bias"], [0.1], rtol=1e-5)
    # cᵢ⁺ = cᵢ − c + (x − y)/η = g again, after one step; the change is of what it was.
    np.testing.assert_allclose(kept["control/weight"], [[-1.0, -4.0]], rtol=1e-5)
    np.testing.assert_allclose(sent["control.weight"], [[0.0, -5.0]], atol=1e-5)
    np.testing.assert_allclose(sent["control.bias"], [-2.0], rtol=1e-5)
    assert not one.output.with_suffix(".shift").exists()


def test_what_is_not_trained_has_no_control_variate(tmp_path: Path) -> None:
    program = linear()
    manifest = program.manifest
    still = [
        Parameter(name=p.name, dtype="F32", shape=p.shape, rule="mean", trainable=p.name != "bias")
        for p in manifest.parameters
    ]
    manifest.parameters[:] = still
    one = work(tmp_path, program)
    updates.write(one, save(tmp_path / "after", weight=[[0.1, 0.4]], bias=[0.3]), walked=0.1)
    assert arrays.load(one.output)["control.bias"].tolist() == [0.0]


def test_a_memory_of_another_shape_is_begun_anew(tmp_path: Path) -> None:
    save(tmp_path / "memory", **{"control/weight": [9.0], "control/bias": [5.0]})
    found = updates.write_correction(work(tmp_path), tmp_path / "shift")
    assert found is not None
    assert {name: one.tolist() for name, one in arrays.load(found).items()} == {"bias": [-5.0]}


@pytest.mark.parametrize("change", [{"kind": "evaluate"}, {"workload": {"kind": "program"}}])
def test_other_work_has_none(tmp_path: Path, change: dict[str, Any]) -> None:
    told = {"workload": {"kind": "program", "train": TRAIN}} | change
    one = work(tmp_path, assignment=assignment(**told))
    assert updates.write_correction(one, tmp_path / "shift") is None
