"""The embedded servers from awkward places: under a 0700 parent, from a 150-character path."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from propius_site.embedded import folders, paths, postgres

BASE_DIR = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=["below a 0700 parent", "150 characters deep"])
def home(request: pytest.FixtureRequest) -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="propius-test-"))  # 0700
    where = parent / "home"
    if request.param != "below a 0700 parent":
        where = parent / ("d" * 130) / "home"
        where.parent.mkdir(mode=0o711)
        assert len(str(where)) >= 150
    yield where
    folders.remove(paths.for_home(where))
    shutil.rmtree(parent)


def _start(home: Path) -> list[subprocess.Popen[bytes]]:
    folders.create(paths.for_home(home))
    return [
        subprocess.Popen(
            [sys.executable, "-m", "propius_site.embedded", server, str(home)],
            cwd=BASE_DIR,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for server in ("postgres", "valkey")
    ]


def _answers(home: Path) -> None:
    where = paths.for_home(home)
    until = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(**postgres.conninfo(where)) as connection:  # type: ignore[arg-type]
                assert connection.execute("SELECT 1").fetchone() == (1,)
            with redis.Redis.from_url(f"unix://{where.valkey_socket}") as client:
                assert client.ping()
        except (psycopg.OperationalError, redis.ConnectionError):
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


def test_they_start_answer_and_survive_a_kill(home: Path) -> None:
    mode_of_parent = home.parent.stat().st_mode
    running = _start(home)
    try:
        _answers(home)
        where = paths.for_home(home)
        with psycopg.connect(**postgres.conninfo(where)) as connection:  # type: ignore[arg-type]
            connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        for one in running:
            one.kill()
            one.wait()
        running = _start(home)
        _answers(home)
        with psycopg.connect(**postgres.conninfo(where)) as connection:  # type: ignore[arg-type]
            assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
    finally:
        for one in running:
            one.send_signal(signal.SIGINT)
        for one in running:
            one.wait(timeout=30)
    assert home.parent.stat().st_mode == mode_of_parent
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_server_left_running_is_replaced(home: Path) -> None:
    left = _start(home)
    _answers(home)
    running = _start(home)
    try:
        for one in left:
            one.wait(timeout=30)
        _answers(home)
    finally:
        for one in running:
            one.send_signal(signal.SIGINT)
        for one in running:
            one.wait(timeout=30)
