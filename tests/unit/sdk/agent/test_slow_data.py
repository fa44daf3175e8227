"""Data that takes for ever or eats all memory: the agent serves on, and ends when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from propius import wire
from propius.agent import datasets, identity
from propius.agent.datasets import DatasetError, DatasetUnready
from propius.agent.oneshot import OneShot
from tests.unit.sdk.agent.scripted import (
    EchoTrainer,
    assignment,
    device_home,
    gateway,
    point_to,
)
from tests.unit.sdk.agent.test_datasets import made
from tests.unit.sdk.agent.test_owner import OPTIONS, Peer, cli, running, whole_round

LOADERS = """
import os, pathlib, subprocess, time
import numpy as np

def endless():
    helper = subprocess.Popen(["sleep", "900"])
    draft = pathlib.Path(__file__).with_name("draft")
    draft.write_text(f"{os.getpid()} {helper.pid}")
    draft.rename(draft.with_name("pids"))
    while True:
        time.sleep(60)

def greedy():
    return [np.ones(1 << 20) for _ in range(1 << 20)]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = device_home(tmp_path / "device")
    (home / "my_loaders.py").write_text(LOADERS)
    return home


def add(home: Path, name: str) -> None:
    with (home / "datasets.toml").open("a") as file:
        file.write(f'[{name}]\nloader = "my_loaders:{name}"\n')


def loading(home: Path) -> list[int]:
    """The processes of the endless loader, once it has begun."""
    return [int(one) for one in (home / "pids").read_text().split()]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):  # a child of numpy starts, on a machine that may be busy
        while not true():
            await asyncio.sleep(0.02)


async def ended(pids: list[int]) -> None:
    await until(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def declined(peer: Peer, dataset: str) -> wire.Decline:
    await peer.expect(wire.CheckIn)
    workload = {"kind": "handler", "handler": "logistic", "dataset": dataset}
    await peer.send(assignment(f"of {dataset}", job=dataset, round=dataset, workload=workload))
    answer: wire.Decline = await peer.expect(wire.Decline)
    return answer


async def test_an_endless_loader_holds_up_neither_other_work_nor_the_end(home: Path) -> None:
    add(home, "endless")

    async def script(peer: Peer) -> None:
        await peer.greet()
        said = await declined(peer, "endless")
        assert (said.code, said.message) == ("preparing", "data set 'endless' is being prepared")
        await whole_round(peer)

    async with gateway(script) as one:
        async with running(home, one):
            await until((home / "pids").exists)
            await one.finished()
            pids = loading(home)
            assert all(map(_runs, pids))
        await ended(pids)


async def test_a_terminated_agent_ends_though_its_data_is_not_ready(home: Path) -> None:
    """As the process that it is, for the ending of threads is a part of it."""
    add(home, "endless")
    async with gateway() as one:
        point_to(home, one.url)
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from propius.cli import app; app()",
            "device", "run", "--home", str(home),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        await until((home / "pids").exists)
        async with asyncio.timeout(30):
            agent.send_signal(signal.SIGTERM)
            said = (await agent.stdout.read()).decode()
            assert await agent.wait() == 0, said
        # What it will do, and for whom, before anything else.
        before, _, _ = said.partition("session.ready")
        assert "consent, tenants of this pool (acme, globex)" in before
        assert "condition, training uses" in before
        await ended(loading(home))


def one_shot(home: Path) -> OneShot:
    folder = identity.Home(home)
    enrolment = identity.load_enrolment(folder)
    nobody = msgspec.structs.replace(enrolment, data="http://127.0.0.1:1/data/v1/")
    identity.save_enrolment(folder, nobody)
    return OneShot(home=home, trainer=EchoTrainer(), options=OPTIONS)


async def test_a_one_shot_run_has_its_data_ready_before_it_asks_for_work(home: Path) -> None:
    (home / "irises.csv").write_text("length,species\n1,a\n2,b\n")
    with (home / "datasets.toml").open("a") as file:
        file.write('[irises]\npath = "irises.csv"\ntarget = "species"\n')
    agent = one_shot(home)
    await asyncio.wait_for(agent.run(), 30)
    assert "cannot be reached" in agent.outcome.message
    assert agent.device.datasets.private_attributes("irises")["examples"] == 1


async def test_a_one_shot_run_that_waits_for_its_data_can_be_stopped(home: Path) -> None:
    add(home, "endless")
    agent = one_shot(home)
    running = asyncio.create_task(agent.run())
    await until((home / "pids").exists)
    await agent.stop()
    await asyncio.wait_for(running, 60)
    await ended(loading(home))


async def test_a_loader_that_eats_memory_ends_at_the_owners_cap_and_work_goes_on(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(home, "greedy")
    (home / "conditions.toml").write_text("memory_mb = 256\n")

    found = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await found.wait()
        said = await declined(peer, "greedy")
        assert (said.code, said.message) == (
            "dataset", "data set 'greedy' is unusable on this device"
        )  # fmt: skip
        await whole_round(peer)

    async with gateway(script) as one, running(home, one):
        await until(lambda: "dataset.unusable" in caplog.text)
        found.set()
        await one.finished()
    words = "my_loaders:greedy: reading it needs more than the 256 MB that it may use"
    assert words in caplog.text
    assert words in await asyncio.to_thread(cli, "status", "--home", str(home))


async def test_a_large_npz_is_looked_at_elsewhere_and_used_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "SMALL_BYTES", 100)
    one = np.zeros((20, 3), np.float32)
    np.savez(tmp_path / "d.npz", x_train=one, y_train=np.arange(20), x_val=one, y_val=one)
    sets = made(tmp_path, '[large]\npath = "d.npz"\n')
    with pytest.raises(DatasetUnready):
        sets.describe("large")
    await sets.refresh()
    assert sets.private_attributes("large")["label_classes"] == 20
    assert sets.path("large") == tmp_path / "d.npz"
    assert not list((tmp_path / "prepared").glob("*.npz"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"\x93NUMPY"])
def test_a_damaged_npz_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"data set 'd' .*d\.npz.* is no npz with x_train"):
        made(tmp_path, '[d]\npath = "d.npz"\n').describe("d")
    np.save(tmp_path / "one.npy", np.ones(3))
    os.replace(tmp_path / "one.npy", tmp_path / "d.npz")
    with pytest.raises(DatasetError, match="is no npz"):
        made(tmp_path, '[d]\npath = "d.npz"\n').describe("d")
