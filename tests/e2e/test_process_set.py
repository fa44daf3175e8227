"""`manage.py up`: start, health, a taken port, stop, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from propius_site.supervision import APPS, Supervisor
from tests.e2e.running import BASE_DIR, RunningPlatform


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    running = RunningPlatform(tmp_path_factory.mktemp("spare") / "home")
    yield running
    running.remove()


@pytest.fixture
def own(spare: RunningPlatform) -> Iterator[RunningPlatform]:
    """A platform that the test may end in any way it likes; the next one starts on what is left."""
    try:
        yield spare.start()
    finally:
        if spare.process and spare.process.poll() is None:
            spare.stop()


def _descendants(running: RunningPlatform) -> list[psutil.Process]:
    assert running.process is not None
    return psutil.Process(running.process.pid).children(recursive=True)


def test_both_applications_answer_their_health(platform: RunningPlatform) -> None:
    for base in (platform.url, platform.gateway_http):
        assert _get(f"{base}/healthz") == (200, '{"status": "ok"}\n')
        status, body = _get(f"{base}/readyz")
        assert status == 200
        assert json.loads(body)["checks"] == {
            "redis": "ok",
            "postgres": "ok",
            "migrations": "ok",
        }
        status, body = _get(f"{base}/metrics")
        assert status == 200
        assert 'propius_disk_bytes{kind="free"}' in body


def test_every_program_runs(platform: RunningPlatform) -> None:
    states = Supervisor(platform.paths).states()
    assert set(states) == {"postgres", "valkey", *(program.name for program in APPS)}
    assert {info["statename"] for info in states.values()} == {"RUNNING"}


def test_prepare_is_safe_to_repeat(platform: RunningPlatform) -> None:
    assert "The database is ready." in platform.manage("prepare")


def test_a_second_start_of_the_same_home_is_refused(platform: RunningPlatform) -> None:
    with pytest.raises(AssertionError, match="It is running already"):
        platform.manage("up")


def test_ctrl_c_stops_everything(own: RunningPlatform) -> None:
    started = _descendants(own)
    assert len(started) >= 9
    assert own.stop() == 0
    assert "nothing is left running" in own.output.read_text()
    assert [process for process in started if process.is_running()] == []


def test_nothing_outlives_a_killed_up(own: RunningPlatform) -> None:
    started = _descendants(own)
    assert own.process is not None
    own.process.send_signal(signal.SIGKILL)
    own.process.wait()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


def test_nothing_outlives_a_killed_supervisord(own: RunningPlatform) -> None:
    assert own.process is not None
    started = _descendants(own)
    os.kill(int((own.paths.run / "supervisord.pid").read_text()), signal.SIGKILL)
    assert own.process.wait(timeout=60) == 1
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


def test_a_taken_port_is_named_with_its_holder_and_variable(tmp_path: Path) -> None:
    running = RunningPlatform(tmp_path / "home")
    with socket.create_server(("127.0.0.1", running.gateway_port)):
        done = subprocess.run(
            [sys.executable, "manage.py", "up"],
            cwd=BASE_DIR,
            env=running.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    running.remove()
    assert done.returncode == 1
    assert f"Port {running.gateway_port} for the gateway is taken by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert "PROPIUS_GATEWAY_PORT=" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    running = RunningPlatform(tmp_path / "home")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up"],
        cwd=BASE_DIR,
        env=running.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while not (running.paths.run / "supervisord.pid").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    _, alive = psutil.wait_procs(started, timeout=60)
    running.remove()
    assert alive == []
