"""A platform of its own for a benchmark: `manage.py up` on free ports, and what its CPU costs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from propius_site.embedded import folders, paths, processes
from propius_site.supervision import Supervisor

ROOT = Path(__file__).resolve().parent.parent
START_S = 120.0


class ProcessSet:
    """The whole process set of one PROPIUS_HOME, real gateway, Redis and Postgres."""

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self.paths = paths.for_home(home)
        self.web_port, self.gateway_port = free_ports(2)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PROPIUS_") and name not in ("DATABASE_URL", "REDIS_URL")
        }
        self.environment = kept | {
            "PROPIUS_HOME": str(home),
            "PROPIUS_WEB_PORT": str(self.web_port),
            "PROPIUS_GATEWAY_PORT": str(self.gateway_port),
            "PROPIUS_LOG_LEVEL": "WARNING",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when web and gateway are ready."""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # However this process ends, the platform must not run on.
            preexec_fn=lambda: processes.die_with_parent(signal.SIGINT),
        )
        until = time.monotonic() + START_S
        while not (_is_ready(self.web_port) and _is_ready(self.gateway_port)):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the platform did not start: see {self.paths.logs}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop as Ctrl-C does, and delete what it kept outside its home."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)
        folders.remove(self.paths)

    def pid(self, program: str) -> int:
        """Return the process id of one program."""
        return int(Supervisor(self.paths).states()[program]["pid"])

    def kill(self, program: str, sig: signal.Signals) -> None:
        """Send a signal to one program; supervisor starts it again if it ends."""
        os.kill(self.pid(program), sig)

    def cpu_s(self) -> dict[str, float]:
        """Return CPU seconds so far by program, with those of children that have ended."""
        found: defaultdict[str, float] = defaultdict(float)
        for name, info in Supervisor(self.paths).states().items():
            if not info["pid"]:
                continue
            parent = psutil.Process(info["pid"])
            for one in (parent, *parent.children(recursive=True)):
                try:
                    found[name] += sum(one.cpu_times()[:4])
                except psutil.NoSuchProcess:
                    continue  # its parent has its time by now, or at the next look
        return found


@contextmanager
def running(**environment: str) -> Iterator[ProcessSet]:
    """Run a process set, and make this process a client of its database as the system role."""
    home = Path(tempfile.mkdtemp(prefix="propius-bench-"))
    platform = ProcessSet(home, environment)
    os.environ.update(platform.environment)
    os.environ |= {"PROPIUS_DB_ROLE": "system", "DJANGO_SETTINGS_MODULE": "propius_site.settings"}
    try:
        platform.start()
        import django

        django.setup()
        yield platform
    finally:
        _leave_database()
        platform.stop()
        shutil.rmtree(home, ignore_errors=True)


def _leave_database() -> None:
    from django.db import connection

    connection.close()
    close_pool = getattr(connection, "close_pool", None)
    if close_pool is not None:
        close_pool()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except (urllib.error.HTTPError, OSError):
        return False


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
