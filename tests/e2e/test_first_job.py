"""A newcomer's way, as the README and docs/first-job.md tell it, on the real platform.

The platform runs already, its address is its own, and the rounds are fewer; all else is pasted.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.pages import blocks
from tests.e2e.running import BASE_DIR, RunningPlatform

README, FIRST_JOB = BASE_DIR / "README.md", BASE_DIR / "docs" / "first-job.md"
START, PROVISION = "make up", "manage.py provision"
TIMEOUT_S = 400
# Most of it is Python starting: a dozen commands, three of which load torch.
pytestmark = pytest.mark.timeout(450)


class Newcomer:
    """Someone who pastes the pages' blocks into a shell in the repository's folder."""

    def __init__(self, platform: RunningPlatform, home: Path) -> None:
        self.platform = platform
        self.home = home
        self.log = home / "shell.log"
        self.shells: list[subprocess.Popen[bytes]] = []

    def paste(self, script: str, **replaced: str) -> str:
        """Run a script to its end, but for what it left in the background; return what it said."""
        for before, after in {
            "http://127.0.0.1:8000": self.platform.url,
            # The browser's tests sign in to this platform as root, with a password of their own.
            "--operator root": "--operator newcomer",
            **replaced,
        }.items():
            script = script.replace(before, after)
        environment = self.platform.environment | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        with self.log.open("wb") as log:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=BASE_DIR, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.shells.append(shell)
        try:
            status = shell.wait(timeout=TIMEOUT_S)
        finally:
            said = self.log.read_text()
            print(said)
        assert status == 0, f"{said}\n{self.platform.logs()}"
        return said

    def tokens(self, script: str) -> dict[str, str]:
        """Make the tenant; return what stands on the page in place of its tokens."""
        said = self.paste(script)
        return {f"{kind}_...": re.findall(rf"{kind}_[\w-]+", said)[0] for kind in ("ppt", "ppe")}

    def leave(self) -> None:
        for shell in self.shells:
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
            shell.wait(timeout=20)


def few_rounds(job: str, count: int) -> dict[str, str]:
    asked = re.findall(r"^count = \d+$", job, re.MULTILINE)
    assert len(asked) == 1
    return {asked[0]: f"count = {count}"}


@pytest.fixture(scope="module")
def newcomer(
    platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Newcomer]:
    made = Newcomer(platform, tmp_path_factory.mktemp("newcomer"))
    try:
        yield made
    finally:
        made.leave()


@pytest.fixture(scope="module")
def first_job(newcomer: Newcomer) -> str:
    """Go the page's whole way; return what the shells said. Its eight devices stay connected."""
    start, tenant, *rest = blocks(FIRST_JOB, "sh")
    assert start.strip() == START
    tokens = newcomer.tokens(tenant)
    exports = [line for line in tenant.splitlines() if line.startswith("export ")]
    script = "\n".join([*exports, *rest])
    return newcomer.paste(script, **tokens, **few_rounds(script, 5))


def test_the_page_on_the_first_job_leads_to_a_model(first_job: str) -> None:
    assert "round 5 train completed: 8 of 8 reported" in first_job
    accuracy = re.findall(r"^accuracy (\d\.\d+)$", first_job, re.MULTILINE)
    assert float(accuracy[0]) > 0.5


def test_the_readmes_own_job_runs_on_these_devices(first_job: str, newcomer: Newcomer) -> None:
    start, *commands = [block for block in blocks(README, "") if ".venv/bin/" in block]
    up, provision = start.splitlines()
    assert up.split("#")[0].strip() == START
    (job,) = [block for block in blocks(README, "toml") if "schema = 1" in block]
    folder = newcomer.home / "first-job"
    for field, file in (("parameters", "digits.safetensors"), ("program", "digits.program")):
        job, found = re.subn(rf'^{field} = "<.*>"$', f'{field} = "{file}"', job, flags=re.M)
        assert found == 1
    for before, after in few_rounds(job, 1).items():
        job = job.replace(before, after)
    (folder / "job.toml").write_text(job)
    tokens = newcomer.tokens(provision.replace(".venv/bin/", ""))
    # The device runs on while the job is submitted, as it would in another terminal.
    script = "\n".join([f"cd {folder}", *commands]).replace(".venv/bin/", "")
    said = newcomer.paste(re.sub(r"^(propius device run)$", r"\1 &", script, flags=re.M), **tokens)
    assert "round 1 train completed: 8 of 8 reported" in said


def test_each_target_that_the_readme_starts_with_is_there() -> None:
    targets = re.findall(r"^make (\w+)", "".join(blocks(README, "")), re.MULTILINE)
    assert {"demo", "up", "test", "help"} <= set(targets)
    for target in targets:
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=BASE_DIR, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
