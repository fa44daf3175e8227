"""What `.ci/run` makes of its tests and of the audit, with both played by scripts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).resolve().parents[2]
CLOSING = "===== 3 passed in 0.10s ====="


def ci(folder: Path, *, tests: int = 0, audit: int = 0, closing: str = CLOSING) -> tuple[int, str]:
    """Run CI in a folder; return its status and all that it says."""
    (folder / ".ci").mkdir()
    shutil.copy(BASE_DIR / ".ci" / "run", folder / ".ci" / "run")
    (folder / "bin").mkdir()
    for path, text in (
        ("bin/chromium", ""),
        ("bin/make", f"echo '{closing}'; exit {tests}"),
        (".ci/audit", f"echo 'django 1.0 PYSEC-1'; exit {audit}"),
    ):
        (folder / path).write_text(f"#!/bin/sh\n{text}\n")
        (folder / path).chmod(0o755)
    done = subprocess.run(
        [folder / ".ci" / "run"],
        env=os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("audit", "status", "said"),
    [
        (0, 0, "no known vulnerability"),
        (1, 1, "django 1.0 PYSEC-1"),
        (2, 0, "it failed itself"),
        (3, 0, "does not answer"),
    ],
)
def test_only_an_audit_that_finds_something_fails_it(
    tmp_path: Path, audit: int, status: int, said: str
) -> None:
    found = ci(tmp_path, audit=audit)
    assert found[0] == status
    assert said in found[1]
    assert found[1].splitlines()[-1] == f"ci: {CLOSING}"


def test_tests_that_fail_do_so_whatever_the_audit_finds(tmp_path: Path) -> None:
    status, said = ci(tmp_path, tests=2, audit=3)
    assert status == 2
    assert said.splitlines()[-1] == f"ci: {CLOSING}"


def test_no_closing_line_is_a_failure(tmp_path: Path) -> None:
    assert ci(tmp_path, closing="make: nothing to be done")[0] == 1
