"""Apps: functions by decorator, how an owner registers them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import propius
from propius import plain
from propius.agent import workloads
from propius.app import AppError
from propius.cli import app as commands

MODULE = """
import propius
app = propius.App()
empty = propius.App()
other = 3

@app.train("mean")
def train(parameters, config, data): ...

@app.query("ages")
def ages(parameters, config, data): ...
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "apps_for_register.py").write_text(MODULE)
    return tmp_path


def register(home: Path, reference: str) -> Any:
    given = ["device", "register", reference, "--home", str(home)]
    return CliRunner().invoke(commands, given)


def test_what_is_registered_is_offered_by_its_kind_and_the_rest_stays(home: Path) -> None:
    (home / "handlers.toml").write_text('[old]\ntrain = "m:f"\n')
    assert register(home, "apps_for_register:app").exit_code == 0
    found = workloads.load(home / "handlers.toml", programs=False)
    assert found.offered() == {"handler": ["mean", "old"], "query": ["ages"]}
    assert found.handler("ages", "query") == "apps_for_register:ages"
    assert found.handler("ages", "train") is None
    assert found.handler("mean", "evaluate") is None


def of_name(home: Path, module: str, name: str) -> Any:
    made = f"import propius\napp = propius.App()\n@app.train({name!a})\ndef f(): ...\n"
    (home / f"{module}.py").write_text(made)
    return register(home, f"{module}:app")


def test_letters_of_any_script_may_name_a_function(home: Path) -> None:
    name = "köln\N{MATHEMATICAL ITALIC SMALL ALPHA}"
    assert of_name(home, "app_of_any_letter", name).exit_code == 0
    assert register(home, "apps_for_register:app").exit_code == 0
    found = workloads.load(home / "handlers.toml", programs=False)
    assert found.handler(name, "train") == "app_of_any_letter:f"


def test_what_is_no_name_is_said_and_the_file_stays(home: Path) -> None:
    (home / "handlers.toml").write_text('[old]\ntrain = "m:f"\n')
    done = of_name(home, "app_of_no_name", "a\x7f")
    assert done.exit_code == 1
    assert "is no handler name" in done.output.replace("\n", " ")
    assert (home / "handlers.toml").read_text() == '[old]\ntrain = "m:f"\n'


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "cannot be imported"),
        ("other", "is a int; a propius.App is needed"),
        ("empty", "has no functions"),
    ],
)
def test_what_is_no_app_is_said(home: Path, name: str, words: str) -> None:
    done = register(home, f"apps_for_register:{name}")
    assert done.exit_code == 1
    assert words in done.output.replace("\n", " ")


def test_a_section_without_a_function_is_named(tmp_path: Path) -> None:
    (tmp_path / "handlers.toml").write_text("[nothing]\n")
    with pytest.raises(ValueError, match="'nothing' names no function"):
        workloads.load(tmp_path / "handlers.toml")


def test_functions_that_the_child_could_not_find_are_refused() -> None:
    app = propius.App()

    def inner(parameters: Any, config: Any, data: Any) -> Any: ...

    with pytest.raises(AppError, match="inside another function"):
        app.train("x")(inner)
    inner.__qualname__ = "inner"
    app.train("x")(inner)
    with pytest.raises(AppError, match="train for 'x' already"):
        app.train("x")(inner)


def test_the_plain_loop_wants_init_first() -> None:
    for call in (propius.receive, plain.close, lambda: propius.send(examples=1)):
        with pytest.raises(plain.LoopError, match="init"):
            call()
