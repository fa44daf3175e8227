"""A platform as its user starts it, for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from propius_site.embedded import folders, paths
from propius_site.supervision import Supervisor

BASE_DIR = Path(__file__).resolve().parent.parent.parent


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_until(
    true: Callable[[], object], said: Callable[[], str], *, timeout_s: float = 60
) -> None:
    """Ask until something is true; if it never is, fail with what there is to say."""
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, said()
        time.sleep(0.02)  # between two looks at what other processes do


class RunningPlatform:
    """`manage.py up` in a child process, on free ports and a PROPIUS_HOME of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.paths = paths.for_home(home)
        self.web_port, self.gateway_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.gateway_http = f"http://127.0.0.1:{self.gateway_port}"
        self.gateway_url = f"ws://127.0.0.1:{self.gateway_port}/"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PROPIUS_") and name not in ("DATABASE_URL", "REDIS_URL")
        }
        self.environment = clean | {
            "PROPIUS_HOME": str(home),
            "PROPIUS_WEB_PORT": str(self.web_port),
            "PROPIUS_GATEWAY_PORT": str(self.gateway_port),
            # On a busy machine a leaf that was killed takes longer to load torch and hand over.
            "PROPIUS_LEAF_WAIT_S": "60",
            **environment,
        }
        self.output = home.parent / f"{home.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RunningPlatform":
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=BASE_DIR,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_ready(timeout_s=240)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> int:
        """Stop as Ctrl-C does; return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def remove(self) -> None:
        """Delete what the embedded servers keep outside PROPIUS_HOME."""
        folders.remove(self.paths)

    def manage(self, *args: str, timeout_s: float = 60) -> str:
        """Run `manage.py args` beside the platform; return its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"manage.py {' '.join(args)}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def pid(self, program: str) -> int:
        return int(Supervisor(self.paths).states()[program]["pid"])

    def kill(self, program: str) -> int:
        """SIGKILL one process of the set; return the pid it had."""
        pid = self.pid(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_back(self, program: str, killed: int, *, timeout_s: float = 30) -> None:
        """Wait until ``program`` runs as another process and the platform is ready."""
        until = time.monotonic() + timeout_s
        while True:
            info = Supervisor(self.paths).states()[program]
            if info["statename"] == "RUNNING" and info["pid"] != killed:
                break
            assert time.monotonic() < until, f"{program} is not back: {info}\n{self.logs()}"
            time.sleep(0.1)
        self.wait_ready(timeout_s=timeout_s)

    def wait_ready(self, *, timeout_s: float = 30) -> None:
        until = time.monotonic() + timeout_s
        for base in (self.url, self.gateway_http):
            while (problem := self._not_ready(base)) is not None:
                over = self.process is None or self.process.poll() is not None
                if over or time.monotonic() > until:
                    raise AssertionError(f"{base} is not ready: {problem}\n{self.logs()}")
                time.sleep(0.1)

    @staticmethod
    def _not_ready(base: str) -> str | None:
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=5):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode(errors="replace")
        except OSError as error:
            return str(error)

    def logs(self, lines: int = 30) -> str:
        """Return the end of every log, for a failure's message."""
        found = []
        for file in [self.output, *sorted(self.paths.logs.glob("*.log"))]:
            if file.exists():
                text = file.read_text(errors="replace").splitlines()[-lines:]
                found.append("\n".join([f"==> {file.name} <==", *text]))
        return "\n".join(found)
