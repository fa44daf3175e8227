"""A job of virtual devices is run again from its manifest: the same bits, or the round that is not.

Its programs are trained in real children, its rounds folded by the platform's own workers.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torch import nn
from typer.testing import CliRunner, Result

from propius import manifest as manifests
from propius.cli import app
from propius.client import Client
from propius.fleet import simulation
from propius.manifest import Manifest
from propius.program import export
from tests.e2e.running import BASE_DIR, RunningPlatform

DEVICES, DEMAND, ROUNDS = 6, 5, 3


@pytest.fixture(scope="module")
def tenant(platform: RunningPlatform) -> Iterator[tuple[Client, str, str]]:
    made = json.loads(
        platform.manage(
            "provision", "--tenant", "rerun", "--pool", "rerun-pool", "--devices", "50"
        ).splitlines()[-1]
    )
    token = made["tenants"]["rerun"]["token"]
    with Client(platform.url, token) as client:
        yield client, token, made["enrolment_token"]


def model(folder: Path, client: Client) -> dict[str, Any]:
    """Export a small network; return how a job file names it."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    batch = torch.zeros(4, 16), torch.zeros(4, dtype=torch.int64)
    made = export(module, nn.functional.cross_entropy, batch)
    (folder / "net.program").write_bytes(made.program)
    (folder / "net.safetensors").write_bytes(made.parameters)
    program = client.upload_program(made.program).digest
    client.wait_program(program)
    return {
        "parameters": client.upload_parameters(made.parameters),
        "workload": {
            "kind": "program", "program": program, "dataset": "any",
            "train": {"local_steps": 3, "batch_size": 8, "learning_rate": 0.05, "decay": 0.5},
        },
    }  # fmt: skip


def data(path: Path) -> Path:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(400, 16)).astype(np.float32), rng.integers(0, 3, 400)
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    return path


async def simulated(
    platform: RunningPlatform, tenant: tuple[Client, str, str], folder: Path, spec: dict[str, Any],
    **options: Any,
) -> Path:  # fmt: skip
    """Run a job on a fleet of its own; return the folder of its manifest and journal."""
    client, token, enrolment = tenant
    asked = {
        "schema": 1, "name": "to run again", "seed": 11, "pools": ["rerun-pool"],
        "rounds": {"count": ROUNDS, "demand": DEMAND, "selection_s": 60, "deadline_s": 60},
    }  # fmt: skip
    job = client.submit_job(asked | spec)
    stopping = asyncio.Event()
    fleet = simulation.Options(
        url=platform.url, token=enrolment, devices=DEVICES, seed=4, kept=folder / "known.json",
        journal=folder / "journal.jsonl", **options,
    )  # fmt: skip
    running = asyncio.create_task(simulation.run(fleet, say=print, stopping=stopping))
    try:
        ended = await asyncio.to_thread(client.wait, job.id, timeout_s=180, every_s=0.4)
    finally:
        stopping.set()
        await running
    assert ended.outcome == "completed", ended.waiting
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROPIUS_URL", platform.url)
        patch.setenv("PROPIUS_TOKEN", token)
        done = propius("job", "export", job.id, "--to", str(folder))
    assert done.exit_code == 0, done.stderr
    return folder


def propius(*args: str) -> Result:
    """Run the command line here: torch, which folds, takes long to load."""
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


def rerun(folder: Path) -> tuple[int, dict[str, Any]]:
    where = (str(folder / "manifest.json"), "--platform", str(BASE_DIR))
    done = propius("job", "rerun", *where, "--output", "json")
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)


def tampered(folder: Path, change: Any) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    change(raw)
    (folder / "manifest.json").write_text(json.dumps(raw))


def test_a_trained_job_comes_out_the_same_and_a_change_is_found_where_it_was_made(
    platform: RunningPlatform, tenant: tuple[Client, str, str], tmp_path: Path
) -> None:
    spec = model(tmp_path, tenant[0]) | {"strategy": {"name": "fedadam"}, "codec": "delta-int8"}
    spec |= {"evaluation": {"every": 2, "demand": 5}}
    training = {"compute": "real", "data": data(tmp_path / "data.npz")}
    folder = asyncio.run(simulated(platform, tenant, tmp_path, spec, **training))
    status, found = rerun(folder)
    assert (status, found["same"]) == (0, True), found["rounds"][-1]["detail"]
    assert [one["number"] for one in found["rounds"]] == [1, 2, 3]

    check(manifests.decode((folder / "manifest.json").read_bytes()))

    def other_seed(raw: dict[str, Any]) -> None:
        trained(raw)[1]["seed"] += 1

    tampered(folder, other_seed)
    status, found = rerun(folder)
    assert (status, found["same"]) == (1, False)
    assert [one["same"] for one in found["rounds"]] == [True, False]
    assert "the sum of batch 0" in found["rounds"][1]["detail"]
    assert "the first update that is another is that of device" in found["rounds"][1]["detail"]


def trained(raw: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in raw["rounds"] if one["kind"] == "train"]


def check(kept: Manifest) -> None:
    """The manifest says what was so."""
    assert (kept.seed, kept.outcome, kept.next) == (11, "completed", None)
    train = [one for one in kept.rounds if one.kind == "train"]
    assert [one.number for one in train] == [1, 2, 3]
    assert [one.sent.train["learning_rate"] for one in train if one.sent.train] == [
        0.05, 0.025, 0.0125,
    ]  # fmt: skip
    for one in train:
        assert len(one.cohort) == DEMAND
        assert all(member.plan > 0 for member in one.cohort)
        assert [part.last for part in one.batches][-1] == DEMAND
        assert one.version is not None
        assert one.version.made_with["torch"] == torch.__version__
        assert one.version.state
    names = {member.device for one in train for member in one.cohort}
    assert DEMAND <= len(names) <= DEVICES
    assert any(one.kind == "evaluate" and one.cohort and not one.batches for one in kept.rounds)
    known = {one.version for one in kept.policies}
    assert all(one.policies and known.issuperset(one.policies) for one in kept.rounds)


CHANGES: list[tuple[Any, int, str]] = [
    (lambda one: one[2]["version"].update(digest="0" * 64), 3, "version 3 is"),
    (lambda one: one[1]["cohort"].pop(), 2, "its batches hold the reports"),
    (lambda one: one[1]["batches"][0].update(partial="0" * 64), 2, "the sum of batch 0 is"),
    (lambda one: one[2].update(base_digest="0" * 64), 3, "began from version 2"),
    (lambda one: one[1]["version"].update(state="0" * 64), 2, "the strategy's state is"),
    (lambda one: one[0]["sent"].update(codec="fp16"), 1, "devices were told"),
]


def test_each_change_is_found_in_its_round(ran: Path, tmp_path: Path) -> None:
    for name in ("journal.jsonl", "start.safetensors"):
        (tmp_path / name).write_bytes((ran / name).read_bytes())
    for change, number, words in CHANGES:
        (tmp_path / "manifest.json").write_bytes((ran / "manifest.json").read_bytes())
        tampered(tmp_path, lambda raw, change=change: change(trained(raw)))  # type: ignore[misc]
        status, found = rerun(tmp_path)
        assert (status, found["same"]) == (1, False), words
        assert [one["same"] for one in found["rounds"]] == [True] * (number - 1) + [False], words
        assert words in found["rounds"][-1]["detail"]


@pytest.fixture(scope="module")
def ran(
    platform: RunningPlatform, tenant: tuple[Client, str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """A job whose devices sent back what they were given, by a strategy over all updates."""
    folder = tmp_path_factory.mktemp("ran")
    content = save({"weight": np.arange(12, dtype=np.float32)})
    (folder / "start.safetensors").write_bytes(content)
    spec = {
        "parameters": tenant[0].upload_parameters(content),
        "workload": {"kind": "handler", "handler": "anything", "dataset": "any"},
        "strategy": {"name": "fedavgm"},
    }
    return asyncio.run(simulated(platform, tenant, folder, spec, handler_names=("anything",)))


def test_what_cannot_be_run_again_is_said_in_a_sentence(ran: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "start.safetensors"):
        (tmp_path / name).write_bytes((ran / name).read_bytes())

    def says(name: str = "manifest.json", platform: Path = BASE_DIR) -> str:
        done = propius("job", "rerun", str(tmp_path / name), "--platform", str(platform))
        assert done.exit_code == 2, done.stdout
        return done.stderr

    assert "propius job export writes it" in says("none.json")
    (tmp_path / "odd.json").write_text('{"schema": 1}')
    assert "is no manifest of a job" in says("odd.json")
    assert "a job of real devices cannot be run again" in says()
    lines = (ran / "journal.jsonl").read_text().splitlines(keepends=True)
    for journal, words in (
        ("".join(lines[:1]), "5 of 5 devices are not in the journal"),
        ("nothing\n", "is no journal of a fleet"),
        (lines[0].replace('"schema":1', '"schema":2'), "has schema 2; 1 is what is known here"),
        (lines[0].replace('"compute":"none"', '"compute":"real"') + "".join(lines[1:]),
         "the devices' data are needed"),
    ):  # fmt: skip
        (tmp_path / "journal.jsonl").write_text(journal)
        assert words in says()
    (tmp_path / "journal.jsonl").write_text("".join(lines))
    kept = (tmp_path / "manifest.json").read_bytes()
    for part, words in (
        ({"privacy": {"noise_multiplier": 1.0}}, "noise that nobody can draw again"),
        ({"driven": True}, "driven by a program"),
        ({"strategy": {"name": "fedbuff"}}, "in which rounds its devices began"),
        ({"strategy": {"name": "scaffold", "population": 9}}, "keep no control variates"),
    ):
        tampered(tmp_path, lambda raw, part=part: raw["spec"].update(part))  # type: ignore[misc]
        assert words in says()
        (tmp_path / "manifest.json").write_bytes(kept)
    gone: dict[str, Any] = {"cohort": [], "batches": [], "forgotten": True}
    tampered(tmp_path, lambda raw: trained(raw)[0].update(gone))
    assert "round 1: the platform has forgotten" in says()
    (tmp_path / "manifest.json").write_bytes(kept)
    tampered(tmp_path, lambda raw: raw.update(schema=2))
    assert "schema 2; 1 is what is known here" in says()
    (tmp_path / "manifest.json").write_bytes(kept)
    (tmp_path / "start.safetensors").unlink()
    assert "parameters: no file in" in says()


def test_without_the_platforms_code_it_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c",
         "import pathlib; from propius import rerun; rerun.engine(pathlib.Path())"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "name a checkout of the platform" in done.stderr


def test_a_job_that_learnt_nothing_is_the_same_too(ran: Path) -> None:
    where = (str(ran / "manifest.json"), "--platform", str(BASE_DIR))
    told = propius("job", "rerun", *where)
    assert told.stdout.splitlines() == [f"round {one}: same bits" for one in (1, 2, 3)]
    text = (ran / "manifest.json").read_bytes()
    assert manifests.encode(manifests.decode(text)) == text
    assert msgspec.to_builtins(manifests.decode(text))["rounds"][0]["cohort"]
