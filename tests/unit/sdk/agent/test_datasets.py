"""Data sets of every format, what is done to them, and what a job may ask of them."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propius import wire
from propius.agent import datasets, transforms
from propius.agent.consent import Consent, ConsentFile
from propius.agent.datasets import DatasetError, DatasetUnprepared, DatasetUnready
from propius.agent.disclosure import Disclosure
from propius.agent.history import History
from propius.agent.judge import LocalJudge
from propius.agent.owner_files import OwnerFileError
from propius.agent.probes import ProbeLimits, Probes
from propius.agent.refusals import Verdicts
from propius.agent.workloads import Handler, Workloads
from propius.needs import ArrayInfo, ArrayNeed, mismatch
from propius.spec import SpecError, parse
from tests.unit.sdk.agent.scripted import assignment, candidate

CSV = "length,width,species\n1.5,2,setosa\n2.5,3,virginica\n3,4,setosa\n4,5,setosa\n5,6,virginica\n"


def made(folder: Path, text: str) -> datasets.Datasets:
    (folder / "datasets.toml").write_text(text)
    return datasets.load(folder / "datasets.toml")


def arrays_of(sets: datasets.Datasets, name: str) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(sets.path(name), allow_pickle=False) as archive:
        return dict(archive)


async def test_a_csv_is_prepared_with_its_transforms_and_described(tmp_path: Path) -> None:
    (tmp_path / "irises.csv").write_text(CSV)
    sets = made(
        tmp_path,
        '[irises]\npath = "irises.csv"\ntarget = "species"\nvalidation = 0.4\n'
        'labels = { site = "north" }\n'
        'transforms = [{ kind = "normalise", array = "x", mean = [1, 2], std = 2 }]\n',
    )
    with pytest.raises(DatasetUnready):
        sets.private_attributes("irises")
    await sets.refresh()
    assert sets.private_attributes("irises") == {
        "examples": 3, "validation_examples": 2, "label_classes": 2, "site": "north",
    }  # fmt: skip
    assert sets.describe("irises").schema == {
        "x": ArrayInfo(dtype="float32", shape=[2]),
        "y": ArrayInfo(dtype="int64", shape=[], classes=2),
    }
    found = arrays_of(sets, "irises")
    x, y = (np.concatenate([found[f"{one}_train"], found[f"{one}_val"]]) for one in "xy")
    order = np.argsort(x[:, 0])
    assert x[order][:, 0].tolist() == [0.25, 0.75, 1.0, 1.5, 2.0]
    assert y[order].tolist() == [0, 1, 0, 0, 1]  # by the alphabet
    again = datasets.load(tmp_path / "datasets.toml")
    prepared = sets.path("irises").stat().st_mtime_ns
    await again.refresh()
    assert again.private_attributes("irises")["examples"] == 3
    assert again.path("irises").stat().st_mtime_ns == prepared  # not done twice


async def test_a_python_loader_beside_the_file_is_called_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "my_meters.py").write_text(
        "import numpy as np\nprint('hello')\n"
        "def load():\n    one = np.ones((2, 3)); two = np.zeros(2)\n"
        "    return dict(x_train=one, y_train=two, x_val=one, y_val=two)\n"
        "def broken():\n    raise KeyError('meter 7')\n"
    )
    sets = made(
        tmp_path, '[a]\nloader = "my_meters:load"\n[b]\nloader = "my_meters:broken"\n'
    )  # fmt: skip
    await sets.refresh()
    assert sets.private_attributes("a") == {"examples": 2, "validation_examples": 2}
    with pytest.raises(DatasetError, match="KeyError"):
        sets.private_attributes("b")


@pytest.mark.parametrize(
    ("text", "content", "words"),
    [
        ('path = "a.csv"\n', "x,y\n1,2\n", "target is None"),
        ('path = "a.csv"\ntarget = "z"\n', "x,y\n1,2\n", "one of x, y"),
        ('path = "a.csv"\ntarget = "y"\n', "x,y\n1,2\nred,3\n", "column 'x' is not all numbers"),
        ('path = "a.csv"\ntarget = "y"\n', "x,y\n1,2,3\n", "line 2: 3 fields"),
        ('path = "a.csv"\ntarget = "y"\nclasses = ["a"]\n', "x,y\n1,b\n2,a\n", "'b' is none of"),
        ('path = "a.csv"\ntarget = "y"\n'
         'transforms = [{ kind = "reshape", array = "x", shape = [2] }]\n',
         "x,y\n1,2\n3,4\n", "reshape of 'x'"),
        ('path = "a.csv"\ntarget = "y"\ntransforms = [{ kind = "flatten", array = "z" }]\n',
         "x,y\n1,2\n3,4\n", "no array 'z'"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_csv_is_named(
    tmp_path: Path, text: str, content: str, words: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    sets = made(tmp_path, f"[a]\n{text}")
    await sets.refresh()
    with pytest.raises(DatasetError, match=words):
        sets.private_attributes("a")


FLAKY = """
import pathlib, time
import numpy as np
here = pathlib.Path(__file__).parent
def load():
    with (here / "calls").open("a") as calls:
        calls.write(".")
    match (here / "mood").read_text():
        case "disk": raise OSError(28, "No space left on device")
        case "memory": raise MemoryError
        case "slow": time.sleep(600)
        case "killed": import os; os.kill(os.getpid(), 9)
        case "content": raise KeyError("meter 7")
    one = np.ones((2, 3))
    return dict(x_train=one, y_train=one, x_val=one, y_val=one)
"""


@pytest.mark.parametrize("mood", ["disk", "memory", "slow", "killed", "unstarted"])
async def test_what_fails_for_now_is_tried_again_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY)
    (tmp_path / "mood").write_text(mood)
    now = 0.0
    entries = {"a": datasets.DatasetEntry(loader="flaky:load")}
    sets = datasets.Datasets(entries, base=tmp_path, clock=lambda: now)
    with monkeypatch.context() as scene:
        if mood == "slow":
            scene.setattr(datasets, "PREPARE_S", 0.01)
        if mood == "unstarted":
            scene.setattr("sys.executable", str(tmp_path / "no-python"))
        await sets.refresh()
    with pytest.raises(DatasetUnprepared):
        sets.describe("a")
    (tmp_path / "mood").write_text("well")
    now = datasets.AGAIN_S - 1
    await sets.refresh()
    with pytest.raises(DatasetUnprepared):
        sets.describe("a")
    now = datasets.AGAIN_S
    await sets.refresh()
    assert sets.private_attributes("a")["examples"] == 2


async def test_what_is_wrong_with_the_data_itself_waits_for_the_file_to_change(
    tmp_path: Path,
) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY)
    (tmp_path / "mood").write_text("content")
    now = 0.0
    entries = {"a": datasets.DatasetEntry(loader="flaky:load")}
    sets = datasets.Datasets(entries, base=tmp_path, clock=lambda: now)
    await sets.refresh()
    now = 1e9
    await sets.refresh()
    assert (tmp_path / "calls").read_text() == "."


async def test_a_folder_that_cannot_be_made_is_a_failure_for_now(tmp_path: Path) -> None:
    (tmp_path / "irises.csv").write_text(CSV)
    (tmp_path / "prepared").touch()
    now = 0.0
    entries = {"a": datasets.DatasetEntry(path="irises.csv", target="species")}
    sets = datasets.Datasets(entries, base=tmp_path, clock=lambda: now)
    await sets.refresh()
    with pytest.raises(DatasetUnprepared, match="File exists"):
        sets.describe("a")
    (tmp_path / "prepared").unlink()
    now = datasets.AGAIN_S
    await sets.refresh()
    assert sets.describe("a").attributes["examples"] == 4


def test_a_small_npz_that_could_not_be_opened_for_now_is_opened_again(
    tmp_path: Path,
) -> None:
    one = np.zeros((2, 3), np.float32)
    np.savez(tmp_path / "d.npz", x_train=one, y_train=one, x_val=one, y_val=one)
    sets = made(tmp_path, '[d]\npath = "d.npz"\n')
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    sets.describe("d")  # numpy is loaded
    again = made(tmp_path, '[d]\npath = "d.npz"\n')
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(DatasetUnprepared, match="Too many open files"):
            again.describe("d")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert again.describe("d").attributes["examples"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a]\nlabels = {}\n", "neither path nor loader"),
        ('[a]\npath = "a.csv"\ntransforms = [{ kind = "pickle", array = "x" }]\n', "pickle"),
        ('[a]\nloader = "os.system"\n', "loader"),
    ],
)
def test_a_faulty_section_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(OwnerFileError, match=words):
        made(tmp_path, text)


def test_transforms_by_hand() -> None:
    data = {"x_train": np.arange(4.0).reshape(2, 2), "y_train": np.array([0, 2])}
    done = transforms.apply(
        [
            transforms.Clip(array="x", min=1, max=2),
            transforms.Reshape(array="x", shape=[1, 2]),
            transforms.Flatten(array="x"),
            transforms.Cast(array="x", dtype="float32"),
            transforms.Rename(array="x", to="pixels"),
            transforms.OneHot(array="y", classes=3),
        ],
        data,
    )
    assert done["pixels_train"].tolist() == [[1, 1], [2, 2]]
    assert done["pixels_train"].dtype == np.float32
    assert done["y_train"].tolist() == [[1, 0, 0], [0, 0, 1]]


# --- what a job needs ---

HAS = {
    "x": ArrayInfo(dtype="float32", shape=[28, 28]),
    "y": ArrayInfo(dtype="int64", shape=[], classes=10),
}


@pytest.mark.parametrize(
    ("name", "need", "field"),
    [
        ("x", {"dtype": "float32", "shape": [28, 0]}, None),
        ("y", {"classes": 10}, None),
        ("y", {"classes": 12}, None),
        ("x", {"dtype": "uint8"}, "x.dtype"),
        ("x", {"shape": [784]}, "x.shape"),
        ("y", {"classes": 9}, "y.classes"),
        ("x", {"classes": 9}, "x.classes"),
        ("z", {}, "z"),
    ],
)
def test_the_field_that_does_not_fit_is_named(
    name: str, need: dict[str, Any], field: str | None
) -> None:
    assert mismatch({name: ArrayNeed(**need)}, HAS) == field


def test_a_job_file_may_say_what_it_needs_and_faults_are_named() -> None:
    job: dict[str, Any] = {
        "schema": 1, "name": "n", "parameters": "a" * 64, "rounds": {"count": 1, "demand": 5},
        "workload": {"kind": "handler", "handler": "h", "dataset": "d",
                     "needs": {"x": {"dtype": "float32", "shape": [2]}}},
    }  # fmt: skip
    assert parse(job).workload.needs["x"].shape == [2]
    job["workload"]["needs"]["x"]["dtype"] = "complex"
    with pytest.raises(SpecError, match=r"workload\.needs\.x"):
        parse(job)


# --- the judge ---


def judge(folder: Path, limits: ProbeLimits | None = None) -> LocalJudge:
    one = np.zeros((2, 3), np.float32)
    labels = np.array([0, 1])
    np.savez(folder / "d.npz", x_train=one, y_train=labels, x_val=one, y_val=labels)
    return LocalJudge(
        Workloads({"logistic": Handler(train="m:train")}, programs=False),
        Consent(ConsentFile(), pool_tenants=["acme", "globex"]),
        made(folder, '[digits]\npath = "d.npz"\n'),
        Probes(History(folder / "history.sqlite"), limits or ProbeLimits()),
    )


def asking(low: int, **changes: Any) -> wire.Candidate:
    return candidate(constraints={"examples": {"min": low}}, **changes)


def code(found: object) -> str | None:
    return getattr(found, "code", None)


def test_a_data_set_that_does_not_fit_is_a_decline_that_names_the_field_alone(
    tmp_path: Path,
) -> None:
    workload = {
        "kind": "handler", "handler": "logistic", "dataset": "digits",
        "needs": {"x": {"shape": [784]}},
    }  # fmt: skip
    refusal = judge(tmp_path)(assignment(workload=workload))
    assert code(refusal) == "dataset.x.shape"
    assert "3" not in getattr(refusal, "message", "")


def test_a_job_cannot_find_a_private_value_by_halving(tmp_path: Path) -> None:
    one = judge(tmp_path, ProbeLimits(per_job=3, per_tenant=5))
    for low in (1, 2, 3, 3, 2):
        assert code(one(asking(low))) in (None, "private_constraint")
    assert code(one(asking(4))) == "probe_limit"
    # Not by another job of the same tenant either, nor after a restart of the agent.
    one = judge(tmp_path, ProbeLimits(per_job=3, per_tenant=5))
    assert code(one(asking(4))) == "probe_limit"
    assert code(one(asking(5, job="other"))) == "private_constraint"
    assert code(one(asking(6, job="other"))) == "private_constraint"
    assert code(one(asking(7, job="third"))) == "probe_limit"
    assert code(one(asking(1, tenant="globex"))) is None
    # What asks for nothing private is free.
    assert one(candidate(job="fourth")) is None


async def test_what_an_owner_mends_and_what_passes_by_itself_is_seen(tmp_path: Path) -> None:
    verdicts = Verdicts(judge(tmp_path))
    whole = (tmp_path / "d.npz").read_bytes()
    asked = asking(2)
    assert verdicts.of(asked) is None
    (tmp_path / "d.npz").write_bytes(b"no longer an npz")
    assert code(verdicts.of(asked)) == "dataset"
    (tmp_path / "d.npz").unlink()
    (tmp_path / "d.npz").mkdir()  # nothing is wrong with the data itself
    assert code(verdicts.of(asked)) == "dataset"
    (tmp_path / "d.npz").rmdir()
    (tmp_path / "d.npz").write_bytes(whole)
    assert verdicts.of(asked) is None
    more, labels = np.zeros((3, 3), np.float32), np.zeros(3, np.int64)
    assert code(verdicts.of(asking(3))) == "private_constraint"
    np.savez(tmp_path / "d.npz", x_train=more, y_train=labels, x_val=more, y_val=labels)
    assert verdicts.of(asking(3)) is None


# --- example counts ---


@pytest.mark.parametrize(
    ("said", "weight"),
    [
        ({}, 137.0),
        ({"cap": 100}, 100.0),
        ({"tell": "bucket"}, 128.0),
        ({"tell": "bucket", "cap": 100}, 64.0),
        ({"tell": "withhold", "cap": 100}, 1.0),
    ],
)
def test_an_owner_decides_how_much_of_the_example_count_is_told(
    said: dict[str, Any], weight: float
) -> None:
    assert Disclosure(**said).weight(137.0) == weight


def test_steps_that_follow_from_the_count_are_withheld_with_it() -> None:
    metrics = {"loss": 0.5, "local_steps": 35.0}
    by_epochs: dict[str, Any] = {"train": {"epochs": 2, "local_steps": None}}
    by_steps: dict[str, Any] = {"train": {"local_steps": 35}}
    assert Disclosure(tell="withhold").metrics(metrics, by_epochs) == {"loss": 0.5}
    assert Disclosure(tell="bucket").metrics(metrics, by_epochs)["local_steps"] == 32.0
    assert Disclosure(tell="bucket", cap=100).metrics(metrics, by_epochs) == {"loss": 0.5}
    assert Disclosure(tell="bucket").metrics(metrics, by_steps) == metrics
    assert Disclosure().metrics(metrics, by_epochs) == metrics
