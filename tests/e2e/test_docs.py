"""The commands and examples of the documentation, as they stand there, on the real platform."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import propius
from tests.e2e.fleet import Fleet
from tests.e2e.pages import blocks
from tests.e2e.running import BASE_DIR

DOCS = BASE_DIR / "docs"
DEVICES = 5


@pytest.fixture(scope="module")
def fleet(platform, tmp_path_factory):
    made = Fleet(platform, tmp_path_factory.mktemp("docs"), slug="docs", count=DEVICES)
    try:
        yield made.start()
    finally:
        made.stop()


def shell(fleet, folder, script):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PROPIUS_")
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "URL": fleet.client.url,
        "API_TOKEN": fleet.token,
    }
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{fleet.log()}"
    return done.stdout


def test_the_commands_of_the_page_on_the_command_line(fleet, tmp_path):
    said = shell(fleet, tmp_path, "".join(blocks(DOCS / "cli.md", "sh")))
    assert "FAULT" not in said
    assert "tenant docs" in said
    assert said.count("round 3 train completed: 5 of 5 reported") == 1
    assert "job.completed" in said
    assert (tmp_path / "exported" / "metrics.csv").read_text().count("loss") == 3
    shown = [path.name for path in (tmp_path / "exported").iterdir()]
    assert ("rounds.parquet" in shown) == ("metrics.parquet" in shown)


def test_the_examples_of_the_page_on_the_sdk(fleet, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"url": fleet.client.url, "token": fleet.token}
    code = "\n".join(blocks(DOCS / "sdk.md", "python"))
    exec(compile(code, str(DOCS / "sdk.md"), "exec"), names)
    # Device i adds i and weighs i % 3 + 1, in each of three rounds.
    mean = sum(i * (i % 3 + 1) for i in range(DEVICES)) / sum(i % 3 + 1 for i in range(DEVICES))
    assert names["model"]["weight"][0] == pytest.approx(3 * mean)
    assert names["table"]["loss"] == pytest.approx([mean] * 3)
    assert names["event"].kind == "job.completed"
    assert "for docs" in capsys.readouterr().out


def test_the_page_on_the_sdk_tells_of_every_public_name():
    page = (DOCS / "sdk.md").read_text()
    assert [name for name in propius.__all__ if not re.search(rf"\b{name}\b", page)] == []
