import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propius import arrays
from propius.program import container
from propius.training.config import TrainConfig
from propius.training.pool import (
    TaskFailed,
    TrainerCrashed,
    TrainerOutOfMemory,
    TrainerPool,
    TrainerTimeout,
)
from propius.training.tasks import HandlerTask, ProgramTask
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters

HERE = str(Path(__file__).parent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program").write_bytes(container.dump(linear()))
    arrays.save_file(linear_parameters(), tmp_path / "parameters")
    data = {f"{k}_{s}": v for s in ("train", "val") for k, v in linear_data().items()}
    np.savez(tmp_path / "data.npz", **data)
    return tmp_path


@pytest.fixture
async def pool() -> AsyncIterator[TrainerPool]:
    async with TrainerPool(1, memory_mb=700, import_paths=[HERE]) as made:
        yield made


def _handler(folder: Path, name: str, **config: Any) -> HandlerTask:
    return HandlerTask(
        action="train",
        handler=f"handlers_for_tests:{name}",
        parameters_path=str(folder / "parameters"),
        data_path=str(folder / "data.npz"),
        split="train",
        output_path=str(folder / "update"),
        config=config,
    )


def _program(folder: Path, action: Any = "train", **changes: Any) -> ProgramTask:
    values: dict[str, Any] = {
        "action": action,
        "program_path": str(folder / "program"),
        "parameters_path": str(folder / "parameters"),
        "data_path": str(folder / "data.npz"),
        "split": "train" if action == "train" else "val",
        "output_path": str(folder / "update"),
        "config": TrainConfig(learning_rate=0.1, local_steps=1, batch_size=2),
    }
    return ProgramTask(**{**values, **changes})


@pytest.mark.torch
async def test_a_program_trains_and_evaluates_in_the_same_warm_child(
    folder: Path, pool: TrainerPool
) -> None:
    await pool.warm()
    assert pool.torch_loaded == 1
    pids = pool.pids
    done = await pool.run(_program(folder), timeout_s=30)
    assert (done.examples, done.steps, done.metrics) == (2, 1, {"loss": 2.5})
    # By hand: test_one_step_of_sgd_by_hand.
    np.testing.assert_allclose(arrays.load(folder / "update")["bias"], [0.3], rtol=1e-6)
    done = await pool.run(_program(folder, "evaluate"), timeout_s=30)
    assert done.metrics == {"loss": 2.5}
    wrong = folder / "wrong"
    wrong.write_bytes(b"\x80\x04.")
    with pytest.raises(TaskFailed, match="not a program") as caught:
        await pool.run(_program(folder, program_path=str(wrong)), timeout_s=30)
    assert caught.value.code == "bad_program_container"
    assert pool.pids == pids


async def test_a_handler_runs_without_torch(folder: Path, pool: TrainerPool) -> None:
    done = await pool.run(_handler(folder, "add_one", by=2), timeout_s=60)
    assert done.metrics == {"torch": 0.0}
    assert not done.torch_loaded
    assert pool.torch_loaded == 0
    assert done.examples == 2
    assert arrays.load(folder / "update")["bias"] == [2.0]


async def test_no_secret_is_in_the_childs_environment_and_its_priority_is_low(
    folder: Path, pool: TrainerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROPIUS_SECRET_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "HOME"):
        monkeypatch.setenv(name, "the-secret")
    done = await pool.run(_handler(folder, "environment", to=str(folder / "env")), timeout_s=60)
    text = (folder / "env").read_text()
    assert "the-secret" not in text
    assert "PATH=" in text
    assert done.metrics["nice"] == min(19, os.nice(0) + 10)


async def test_a_task_over_the_memory_cap_fails_and_the_next_one_runs(
    folder: Path, pool: TrainerPool
) -> None:
    with pytest.raises(TrainerOutOfMemory, match="700 MB"):
        await pool.run(_handler(folder, "hungry"), timeout_s=60)
    assert (await pool.run(_handler(folder, "add_one"), timeout_s=60)).examples == 2


async def test_a_task_over_its_time_is_killed(folder: Path, pool: TrainerPool) -> None:
    started = time.monotonic()
    with pytest.raises(TrainerTimeout, match=r"0\.5 s"):
        await pool.run(_handler(folder, "endless"), timeout_s=0.5)
    assert time.monotonic() - started < 3
    assert pool.pids == []
    assert (await pool.run(_handler(folder, "add_one"), timeout_s=60)).examples == 2


@pytest.mark.parametrize(
    ("name", "words"), [("exits", r"status 3.*going down"), ("segfaults", "signal 11")]
)
async def test_a_child_that_dies_is_replaced(
    folder: Path, pool: TrainerPool, name: str, words: str
) -> None:
    with pytest.raises(TrainerCrashed, match=words):
        await pool.run(_handler(folder, name), timeout_s=60)
    assert (await pool.run(_handler(folder, "add_one"), timeout_s=60)).examples == 2


async def test_cancelling_kills_the_child(folder: Path, pool: TrainerPool) -> None:
    running = asyncio.ensure_future(pool.run(_handler(folder, "endless"), timeout_s=60))
    while not pool.pids:
        await asyncio.sleep(0.01)
    (pid,) = pool.pids
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (await pool.run(_handler(folder, "add_one"), timeout_s=60)).examples == 2


async def test_closing_fails_the_task_under_way(folder: Path) -> None:
    pool = TrainerPool(1, memory_mb=700, import_paths=[HERE])
    running = asyncio.ensure_future(pool.run(_handler(folder, "endless"), timeout_s=60))
    while not pool.pids:
        await asyncio.sleep(0.01)
    await pool.close()
    with pytest.raises(TrainerCrashed):
        await running
    with pytest.raises(TrainerCrashed, match="closed"):
        await pool.run(_handler(folder, "add_one"), timeout_s=60)


_AGENT = """
import asyncio, sys, threading
from propius.training.pool import TrainerPool
from propius.training.tasks import HandlerTask
async def main():
    pool = TrainerPool(1, import_paths=[sys.argv[1]])
    task = HandlerTask(action="train", handler="handlers_for_tests:endless", split="train",
                       parameters_path=sys.argv[2], data_path=sys.argv[3])
    running = asyncio.ensure_future(pool.run(task, 60))
    while not pool.pids:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    print(pool.pids[0], flush=True)
    await running
asyncio.run(main())
"""


async def test_a_child_dies_with_its_agent(folder: Path) -> None:
    arguments = ["-c", _AGENT, HERE, str(folder / "parameters"), str(folder / "data.npz")]
    agent = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert agent.stdout is not None
    child = int(await agent.stdout.readline())
    agent.kill()
    await agent.communicate()
    status = Path(f"/proc/{child}/status")
    for _ in range(200):
        # Nobody may be there to reap it: a zombie has ended too.
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the child {child} outlived its agent")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("raises", "task_failed", "KeyError.*no such column"),
        ("wrong_shape", "tensor_mismatch", r"'bias' is F32 \[2\]"),
        ("not_a_number", "not_finite", "NaN"),
        ("bad_metric", "bad_handler", "inf, not finite"),
        ("none", "bad_handler", "returned NoneType, expected Result"),
        ("missing", "bad_handler", "cannot be imported"),
    ],
)
async def test_a_handler_that_misbehaves_is_named(
    folder: Path, pool: TrainerPool, name: str, code: str, words: str
) -> None:
    with pytest.raises(TaskFailed, match=words) as caught:
        await pool.run(_handler(folder, name), timeout_s=60)
    assert caught.value.code == code
    assert not (folder / "update").exists()
    assert len(pool.pids) == 1


async def test_what_a_warm_child_prints_does_not_add_up(folder: Path, pool: TrainerPool) -> None:
    for _ in range(4):
        await pool.run(_handler(folder, "chatty"), timeout_s=30)
        (child,) = pool._idle
        assert os.fstat(child._log.fileno()).st_size < 3 << 20
    assert len(pool.pids) == 1


async def test_data_with_python_objects_is_refused(folder: Path, pool: TrainerPool) -> None:
    np.savez(folder / "data.npz", x_train=np.array([{}], dtype=object))
    with pytest.raises(TaskFailed, match=r"data\.npz.*allow_pickle=False") as caught:
        await pool.run(_handler(folder, "add_one"), timeout_s=60)
    assert caught.value.code == "data_mismatch"


async def test_a_data_set_that_changed_is_read_again(folder: Path, pool: TrainerPool) -> None:
    assert (await pool.run(_handler(folder, "add_one"), timeout_s=60)).examples == 2
    np.savez(folder / "data.npz", x_train=np.zeros((5, 2)))
    assert (await pool.run(_handler(folder, "add_one"), timeout_s=60)).examples == 5
