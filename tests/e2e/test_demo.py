"""`manage.py demo`, a few rounds of it, from an empty PROPIUS_HOME to Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from propius import arrays
from propius_site.embedded import folders
from tests.e2e.running import BASE_DIR, RunningPlatform

ROUNDS = 3
TIMEOUT_S = 300
JOBS = ("tumours-logistic", "digits-mlp", "digits-cnn")


class RunningDemo:
    """`manage.py demo` in a child process; ports and environment are those of a platform."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.platform = RunningPlatform(home)
        self.output = home.parent / "demo.out"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--rounds", str(ROUNDS)],
                cwd=BASE_DIR,
                env=self.platform.environment | {"COLUMNS": "100"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, words: str) -> str:
        until = time.monotonic() + TIMEOUT_S
        while words not in (text := self.text()):
            assert self.process.poll() is None, text
            assert time.monotonic() < until, f"{text}\n{self.platform.logs()}"
            time.sleep(0.2)
        return text


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[RunningDemo]:
    running = RunningDemo(tmp_path / "home")
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGINT)
        running.process.wait(timeout=60)
    folders.remove(running.platform.paths)


@pytest.mark.timeout(450)
def test_two_tenants_train_three_models_and_ctrl_c_leaves_nothing(demo: RunningDemo) -> None:
    text = demo.wait_for("Look round at")
    started = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(started) >= 15  # the platform's, and the devices' three with their trainers

    for job in JOBS:
        assert re.search(rf"{job} +completed +{ROUNDS} ", text), text
        tensors = arrays.load(demo.home / "demo" / "models" / f"{job}.safetensors")
        assert all(tensor.size for tensor in tensors.values())
    for name in ("operator", "alice", "bob", "carol"):
        assert re.search(rf"^  {name} +\S{{12}} ", text, re.MULTILINE), text
    first = re.search(r"first round ([\d.]+) s", text)
    assert first is not None

    os.kill(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(timeout=60) == 0
    assert "nothing is left running" in demo.text()
    assert [process for process in started if process.is_running()] == []
