"""What `make lint` looks at in seconds, looked at by `make test` too."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).resolve().parents[2]
CODE = re.search(r"^CODE := (.*)$", (BASE_DIR / "Makefile").read_text(), re.MULTILINE)[1].split()


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--no-cache", "--check", "."),
        ("bandit", "-q", "-c", "pyproject.toml", "-r", *CODE, "manage.py"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_it_finds_no_fault(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=BASE_DIR, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
