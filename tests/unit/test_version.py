"""The platform knows its own release."""

import tomllib
from pathlib import Path

from core.version import VERSION


def test_it_is_that_of_the_project():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
