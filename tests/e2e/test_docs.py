"""The commands and examples of the documentation, as they stand there, on the real platform."""

import ast
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FunctionType

import pytest
from pyarrow import parquet

import propius
from propius import resources
from propius.client import Client
from propius.resources import Job
from tests.e2e.fleet import Fleet
from tests.e2e.pages import blocks
from tests.e2e.running import BASE_DIR

DOCS = BASE_DIR / "docs"
PROGRAM = BASE_DIR / "tests" / "golden" / "programs" / "torch-2.13.0" / "lora.program"
DEVICES = 5
# Device i adds i and weighs i % 3 + 1.
MEAN = sum(i * (i % 3 + 1) for i in range(DEVICES)) / sum(i % 3 + 1 for i in range(DEVICES))


@pytest.fixture(scope="module")
def fleet(platform, tmp_path_factory):
    made = Fleet(platform, tmp_path_factory.mktemp("docs"), slug="docs", count=DEVICES)
    try:
        yield made.start()
    finally:
        made.stop()


def surroundings(fleet, folder):
    """What a submitter's shell has."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PROPIUS_")
    }
    return environment | {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "URL": fleet.client.url,
        "API_TOKEN": fleet.token,
    }


def shell(fleet, folder, script):
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder, env=surroundings(fleet, folder), capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{fleet.log()}"
    return done.stdout


def on_a_terminal(fleet, folder, *command):
    """Run a command as people do; return its status and all that it drew."""
    ours, theirs = pty.openpty()
    signed_in = {"PROPIUS_URL": fleet.client.url, "PROPIUS_TOKEN": fleet.token}
    size = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        command, cwd=folder, env=surroundings(fleet, folder) | signed_in | size,
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        drawn = b""
        with suppress(OSError):  # so Linux says that the other end is closed
            while got := os.read(ours, 1 << 16):
                drawn += got
    os.close(ours)
    return process.returncode, drawn.decode()


def test_the_commands_of_the_page_on_the_command_line(fleet, tmp_path):
    said = shell(fleet, tmp_path, "".join(blocks(DOCS / "cli.md", "sh")))
    assert "FAULT" not in said
    assert "tenant docs" in said
    assert said.count("round 3 train completed: 5 of 5 reported") == 1
    assert "job.completed" in said
    assert (tmp_path / "exported" / "metrics.csv").read_text().count("loss") == 3
    rounds = parquet.read_table(tmp_path / "exported" / "rounds.parquet").to_pydict()
    assert (rounds["number"], rounds["reported"]) == ([1, 2, 3], [DEVICES] * 3)
    assert rounds["outcome"] == ["completed"] * 3
    metrics = parquet.read_table(tmp_path / "exported" / "metrics.parquet").to_pydict()
    assert (metrics["metric"], metrics["value"]) == (["loss"] * 3, [pytest.approx(MEAN)] * 3)


def test_a_job_is_watched_live_on_a_terminal(fleet, tmp_path):
    job = fleet.submit(rounds=2, demand=DEVICES)
    status, drawn = on_a_terminal(fleet, tmp_path, "propius", "job", "watch", job)
    assert status == 0, drawn
    assert "\x1b[2K" in drawn  # lines are drawn over, not added
    *_, last = drawn.split("add 2 x 5")[:-1], drawn.split("\x1b[2K")[-1]
    assert "completed  version 2" in last
    rows = [line.split() for line in last.splitlines()]
    assert ["1", "train", "completed", "5", "of", "5", "loss"] in [row[:7] for row in rows]
    assert ["2", "train", "completed", "5", "of", "5", "loss"] in [row[:7] for row in rows]
    assert f"its model: propius job download {job}" in last


@pytest.fixture
def called():
    """Collect the functions that the page on the SDK calls, and what handles call for it."""
    found = set()
    ways = {str(DOCS / "sdk.md"), resources.__file__}

    def see(frame, event, _):
        if event == "call" and frame.f_back and frame.f_back.f_code.co_filename in ways:
            found.add(frame.f_code)

    sys.setprofile(see)
    yield found
    sys.setprofile(None)


def test_the_examples_of_the_page_on_the_sdk(fleet, tmp_path, monkeypatch, capsys, called):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.program").write_bytes(PROGRAM.read_bytes())
    names = {"url": fleet.client.url, "token": fleet.token}
    code = "\n".join(blocks(DOCS / "sdk.md", "python"))
    exec(compile(code, str(DOCS / "sdk.md"), "exec"), names)
    sys.setprofile(None)
    assert names["model"]["weight"][0] == 0  # of the loop of one's own, begun anew
    assert names["final"]["weight"][0] == pytest.approx(3 * MEAN)
    assert names["table"]["loss"] == pytest.approx([MEAN] * 3)
    assert names["event"].kind == "job.completed"
    assert "for docs" in capsys.readouterr().out
    not_shown = [
        f"{kind.__name__}.{name}"
        for kind in (Client, Job)
        for name, function in vars(kind).items()
        if isinstance(function, FunctionType) and not name.startswith("_")
        if function.__code__ not in called
    ]
    assert not_shown == []


def test_an_example_that_runs_has_every_public_name():
    code = "\n".join(blocks(DOCS / "sdk.md", "python"))
    # tests/e2e/test_workloads.py runs the other page.
    used = names_in(code) | names_in((DOCS / "examples" / "plain_loop.py").read_text())
    assert set(propius.__all__) - used == set()


def names_in(code):
    """Return what code uses of propius: as ``propius.x``, or imported and not only that."""
    nodes = list(ast.walk(ast.parse(code)))
    loaded = {one.id for one in nodes if isinstance(one, ast.Name)}
    imported = {
        name.name
        for one in nodes
        if isinstance(one, ast.ImportFrom) and one.module == "propius"
        for name in one.names
    }
    through = {
        one.attr
        for one in nodes
        if isinstance(one, ast.Attribute)
        and isinstance(one.value, ast.Name)
        and one.value.id == "propius"
    }
    return imported & loaded | through
