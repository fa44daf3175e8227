"""A leaf for tests: `manage.py leaf` as its operator starts it, beside a running platform."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.running import BASE_DIR, RunningPlatform, free_ports


class RunningLeaf:
    """One leaf of one pool; it may be killed and started again on its folder."""

    def __init__(self, platform: RunningPlatform, folder: Path, *, name: str, pool: str) -> None:
        [self.port] = free_ports(1)
        self.platform = platform
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}"
        made = platform.manage("leaves", "create", name, "--url", self.url, "--pool", pool)
        self.token = json.loads(made.splitlines()[-1])["token"]
        self.log = folder.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None
        self.name = name

    def start(self) -> RunningLeaf:
        """Return when the root has heard it."""
        kept = {
            name: value
            for name, value in self.platform.environment.items()
            if name not in ("DATABASE_URL", "REDIS_URL")
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "manage.py", "leaf", "--root", self.platform.url,
                    "--token", self.token, "--folder", str(self.folder), "--port", str(self.port),
                ],
                cwd=BASE_DIR, env=kept, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + 30
        while f"heard_after_start {self.process.pid}" not in self._heard():
            assert time.monotonic() < until, self.text()
            time.sleep(0.05)
        return self

    def _heard(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, self.text()
        ready = self.text().count("leaf.ready")
        return f"heard_after_start {self.process.pid}" if ready > self._ready_before else ""

    _ready_before = 0

    def kill(self) -> None:
        """As a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=60)
        self._ready_before = self.text().count("leaf.ready")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
        self._ready_before = self.text().count("leaf.ready")

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""
