"""Outcomes as exit statuses, profiles, the doctor, beginning and exporting a job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from propius import spec
from propius.cli import job_files, profile
from tests.unit.sdk import test_cli
from tests.unit.sdk.test_cli import JOB, JOB_ID, SPEC, TOKEN, Server, run

config, server, signed_in = test_cli.config, test_cli.server, test_cli.signed_in
EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"


EXAMPLES_OF_API = Path(__file__).resolve().parents[3] / "propius_site" / "api_examples.json"


def manifest_page(number: int) -> dict[str, Any]:
    """What the server answers for a job of two rounds, one in each answer."""
    found: dict[str, Any] = json.loads(EXAMPLES_OF_API.read_text())["Manifest"]
    policy = found["policies"][0] | {"version": 0 if number == 1 else 3}
    one = found["rounds"][0] | {"id": f"r{number}", "policies": [policy["version"]]}
    more = "r1" if number == 1 else None
    return found | {"policies": [policy], "rounds": [one], "next": more}


class Ending(Server):
    """Its job has an end of choice, or none."""

    job: dict[str, Any] = JOB
    scopes: tuple[str, ...] = ("jobs:read", "jobs:write", "models:read", "models:write")

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        if path == "/healthz":
            return 200, {}
        status, found = super().answer(method, path, headers, body)
        name = path.removeprefix("/api/v1/")
        if status == 401:
            return status, found
        if name == "me":
            return 200, {"tenant": "acme", "name": "token ci", "scopes": list(self.scopes)}
        if name.startswith(f"jobs/{JOB_ID}/manifest"):
            return 200, manifest_page(2 if "after=r1" in name else 1)
        if name == "policy":
            return 200, {"name": "fair", "parameters": {}}
        if name.startswith(f"jobs/{JOB_ID}/events"):
            event = {"id": 7, "kind": "job.paused", "at": "2026-01-02T03:04:05+00:00", "job": "j",
                     "device": "d-1", "data": {"why": "two words"}}  # fmt: skip
            return 200, f"id: 7\ndata: {json.dumps(event)}\n\n".encode()
        if name == f"jobs/{JOB_ID}" or (method, name) == ("POST", "jobs"):
            return status, self.job
        if name in (f"jobs/{JOB_ID}/{verb}" for verb in ("pause", "resume", "clone")):
            return 200, self.job
        return status, found


@pytest.fixture(autouse=True)
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_cli, "Server", Ending)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("completed", 0), ("failed", 3), ("cancelled", 4), ("rejected", 5), ("expired", 6)],
)
def test_the_status_is_the_outcome_and_the_output_one_object(
    signed_in: Ending, tmp_path: Path, outcome: str, status: int
) -> None:
    signed_in.job = {**JOB, "outcome": outcome}
    path = tmp_path / "job.toml"
    path.write_text(SPEC)
    said = run("job", "submit", str(path), "--wait", "--output", "json", status=status)
    assert json.loads(said)["outcome"] == outcome
    assert json.loads(run("job", "wait", JOB_ID, "-o", "json", status=status))["id"] == JOB_ID


def test_a_time_out_leaves_the_job_and_has_a_status_of_its_own(signed_in: Ending) -> None:
    signed_in.job = {**JOB, "status": "running", "outcome": ""}
    assert "it goes on" in run("job", "wait", JOB_ID, "--timeout", "0", status=7)
    assert "it goes on" in run("job", "watch", JOB_ID, "--timeout", "0", status=7)


def test_steering_and_logs(signed_in: Ending) -> None:
    for verb in ("pause", "resume"):
        assert JOB_ID in run("job", verb, JOB_ID)
    run("job", "clone", JOB_ID, "--set", "priority=3", "--set", "name=again")
    assert json.loads(signed_in.asked[-1][3]) == {"priority": 3, "name": "again"}
    assert "has no =" in run("job", "clone", JOB_ID, "--set", "priority", status=2)
    assert '7 2026-01-02 03:04:05 job.paused           device=d-1 why="two words"' in run(
        "job", "logs", JOB_ID
    )
    assert json.loads(run("job", "logs", JOB_ID, "--after", "6", "-o", "json"))["id"] == "7"
    assert signed_in.asked[-1][2]["Last-Event-ID"] == "6"


def test_export_writes_manifest_and_tables(signed_in: Ending, tmp_path: Path) -> None:
    run("job", "export", JOB_ID, "--to", str(tmp_path / "out"))
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    # Two answers of the server, joined.
    assert (made["seed"], made["next"]) == (0, None)
    assert [one["id"] for one in made["rounds"]] == ["r1", "r2"]
    assert [one["version"] for one in made["policies"]] == [0, 3]
    metrics = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert metrics == ["round,number,attempt,kind,metric,value", "r1,1,1,train,loss,0.25"]
    curve = (tmp_path / "out" / "curve.csv").read_text().splitlines()
    assert curve[0].endswith(",loss")
    assert curve[1].endswith(",0.25")
    table = parquet.read_table(tmp_path / "out" / "metrics.parquet")
    assert table.to_pylist() == [
        {"round": "r1", "number": 1, "attempt": 1, "kind": "train", "metric": "loss", "value": 0.25}
    ]
    assert [str(table.schema.field(name).type) for name in ("number", "value")] == [
        "int64", "double",
    ]  # fmt: skip
    (one,) = parquet.read_table(tmp_path / "out" / "rounds.parquet").to_pylist()
    assert list(one) == (tmp_path / "out" / "rounds.csv").read_text().splitlines()[0].split(",")
    told = {name: one[name] for name in ("id", "number", "kind", "outcome", "demand", "reported")}
    assert told == {name: test_cli.ROUND[name] for name in told}
    (one,) = parquet.read_table(tmp_path / "out" / "curve.parquet").to_pylist()
    assert (one["number"], one["loss"]) == (1, 0.25)
    (tmp_path / "file").touch()
    assert "wants a folder" in run(
        "job", "export", JOB_ID, "--to", str(tmp_path / "file"), status=2
    )


def test_an_exported_name_that_a_spreadsheet_would_run_is_marked_as_text(
    signed_in: Ending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(test_cli.ROUND, "metrics", {"=HYPERLINK(1)": -0.5})
    run("job", "export", JOB_ID, "--to", str(tmp_path))
    metrics = (tmp_path / "metrics.csv").read_text().splitlines()
    assert metrics[1] == "r1,1,1,train,'=HYPERLINK(1),-0.5"
    curve = (tmp_path / "curve.csv").read_text().splitlines()
    assert curve[0].endswith(",'=HYPERLINK(1)")


def test_a_job_file_names_files_that_are_uploaded_with_it(
    signed_in: Ending, tmp_path: Path
) -> None:
    path = tmp_path / "job.toml"
    named = SPEC.replace(f'"{test_cli.DIGEST}"', '"start.safetensors"', 1)
    path.write_text(named)
    assert "start.safetensors" in run("job", "submit", str(path), status=2)
    (tmp_path / "start.safetensors").write_bytes(b"weights")
    run("job", "submit", str(path))
    (_, where, _, sent), (*_, submitted) = signed_in.asked
    assert (where, sent) == ("/api/v1/parameters", b"weights")
    assert json.loads(submitted)["parameters"] == test_cli.DIGEST


# --- profiles and the doctor ---


def test_profiles_are_kept_side_by_side(server: Ending, config: Path) -> None:
    run("--profile", "west", "login", "--url", server.url, "--token", TOKEN)
    assert "not signed in" in run("job", "list", status=2)
    assert "fair" in run("--profile", "west", "policy", "show")
    run("login", "--url", server.url, "--token", TOKEN)
    assert JOB_ID in run("job", "list")
    assert JOB_ID in run("--profile", "west", "job", "list")
    said = run("--profile", "east", "job", "list", status=2)
    assert "no profile 'east' (known: default, west)" in said
    config.write_text("= 1")
    assert "cannot be read" in run("job", "list", status=2)


@pytest.mark.parametrize("name", ["\N{ROCKET} Köln", "a\x7fb", 'a"]\n[b\\'])
def test_a_profile_may_have_any_name(server: Ending, name: str) -> None:
    run("login", "--url", server.url, "--token", TOKEN)
    run("--profile", name, "login", "--url", server.url, "--token", TOKEN)
    assert JOB_ID in run("--profile", name, "job", "list")
    assert JOB_ID in run("job", "list")


def test_a_profile_that_cannot_be_written_leaves_the_others(server: Ending, config: Path) -> None:
    run("login", "--url", server.url, "--token", TOKEN)
    with config.open("a", encoding="utf-8") as file:
        file.write('"the note" = "mine"\n')
    said = run("--profile", "\udcff", "login", "--url", server.url, "--token", TOKEN, status=2)
    assert "cannot be written as TOML" in said
    run("--profile", "west", "login", "--url", server.url, "--token", TOKEN)
    assert profile.load()["default"]["the note"] == "mine"


def test_the_doctor_finds_nothing(signed_in: Ending) -> None:
    said = run("doctor")
    assert "FAULT" not in said
    assert "token ci of tenant acme" in said


def test_the_doctor_says_the_fix(signed_in: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in.scopes = ("jobs:read",)
    assert "without jobs:write (to submit and steer them)" in run("doctor", status=1)
    monkeypatch.setenv("PROPIUS_TOKEN", "other")
    assert "make a token" in run("doctor", status=1)
    monkeypatch.setenv("PROPIUS_URL", "localhost")
    assert "starts with http" in run("doctor", status=1)
    monkeypatch.delenv("PROPIUS_URL")
    assert "propius login" in run("doctor", status=1)


# --- beginning ---


@pytest.mark.torch
def test_a_job_is_begun_that_runs_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "my job"
    assert "python export.py" in run("job", "init", str(folder))
    assert "has job.toml and export.py already" in run("job", "init", str(folder), status=1)
    both = (  # in one process: torch takes long to load
        "import runpy, sys; runpy.run_path('export.py'); sys.argv = ['digits.py', 'make'];"
        f"runpy.run_path({str(EXAMPLES / 'digits.py')!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", both], cwd=folder, check=True)
    file = folder / "job.toml"
    assert spec.parse(job_files.read_file(file)).name == "myjob"
    said = run("try", str(file), "--data", str(folder / "devices" / "0" / "digits.npz"),
               "--rounds", "1", "--save", str(folder / "model.safetensors"))  # fmt: skip
    assert "round 1: 8 devices" in said
