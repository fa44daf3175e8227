"""Devices for tests: the real agent over real websockets, in one process, without torch."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from safetensors.numpy import save

from propius.agent import enrolment
from propius.agent.identity import Home
from propius.client import Client
from propius_site.embedded import paths as embedded_paths
from propius_site.embedded import postgres
from tests.e2e.running import BASE_DIR, RunningPlatform


def rows(platform: RunningPlatform, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Ask a platform's Postgres, as the system role."""
    where = postgres.conninfo(
        platform.paths, user="propius_system", database=embedded_paths.DATABASE
    )
    with psycopg.connect(**where) as connection:
        return connection.execute(query, arguments).fetchall()


class Fleet:
    """``count`` agents of tenant ``slug``'s shared pool; device i holds i % 3 + 1 examples of i."""

    def __init__(
        self,
        platform: RunningPlatform,
        folder: Path,
        *,
        slug: str,
        count: int,
        programs: bool = False,
    ) -> None:
        self.platform = platform
        self.folder = folder
        self.slug = slug
        self.count = count
        self.programs = programs
        self.process: subprocess.Popen[bytes] | None = None
        made = json.loads(
            platform.manage(
                "provision", "--tenant", slug, "--pool", f"{slug}-pool", "--devices", str(count)
            ).splitlines()[-1]
        )
        self.token = made["tenants"][slug]["token"]
        self.client = Client(platform.url, self.token)
        self.pool = f"{slug}-pool"
        for index in range(count):
            self._make_device(index, made["enrolment_token"])

    def _make_device(self, index: int, token: str) -> None:
        home = Home(self.folder / f"d{index:02}")
        enrolment.enrol(
            self.platform.url, token, home, name=f"{self.slug}-{index:02}",
            overrides={"cpu_score": 1.0, "memory_mb": 512 + index, "os": "linux"},
        )  # fmt: skip
        rows = np.full((index % 3 + 1, 1), index, dtype=np.float32)
        labels = np.zeros(len(rows), dtype=np.int64)
        np.savez(home / "data.npz", x_train=rows, y_train=labels, x_val=rows, y_val=labels)
        (home / "datasets.toml").write_text('[numbers]\npath = "data.npz"\n')
        (home / "handlers.toml").write_text('[add]\ntrain = "tests.e2e.handlers:add_my_index"\n')

    def start(self) -> "Fleet":
        devices = [
            {
                "home": f"d{index:02}",
                "programs": self.programs,
                "attributes": {"cpu_score": 1.0, "memory_mb": 512 + index, "os": "linux"},
            }
            for index in range(self.count)
        ]
        fleet = {
            "devices": devices, "trainers": 2 if self.programs else 6,
            "import_paths": [str(BASE_DIR)], "start_over_s": 0.2, "backoff_cap_s": 2.0,
        }  # fmt: skip
        file = self.folder / "fleet.json"
        file.write_text(json.dumps(fleet))
        with (self.folder / "fleet.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "propius.agent.host", str(file)],
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
        self.client.close()

    def move_to(self, other: RunningPlatform) -> None:
        """Let the stopped devices and the submitter go to another platform from now on."""
        for file in self.folder.glob("d*/device.json"):
            text = file.read_text()
            for before, after in (
                (self.platform.web_port, other.web_port),
                (self.platform.gateway_port, other.gateway_port),
            ):
                text = text.replace(f":{before}", f":{after}")
            file.write_text(text)
        self.platform = other
        self.client = Client(other.url, self.token)

    def submit(
        self, *, rounds: int, demand: int, seconds: float = 0.2, start: float = 0.0, **more: Any
    ) -> str:
        """Upload ``start`` eight times and submit a job that adds indices to it; return its id.

        Jobs that start alike have the same updates, to the bit: they are the same blobs.
        """
        weight = np.full(8, start, dtype=np.float32)
        digest = self.client.upload_parameters(save({"weight": weight}))
        spec = {
            "schema": 1,
            "name": f"add {rounds} x {demand}",
            "workload": {
                "kind": "handler", "handler": "add", "dataset": "numbers",
                "config": {"seconds": seconds},
            },
            "parameters": digest,
            "rounds": {"count": rounds, "demand": demand, "selection_s": 30, "deadline_s": 30},
            "pools": [self.pool],
            "retention": {"versions": 100},
        }  # fmt: skip
        return str(self.client.submit_job(spec | more)["id"])

    def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Ask the platform's Postgres, as the system role."""
        return rows(self.platform, query, *arguments)

    def wait_for_round(self, job: str, *, number: int, timeout_s: float = 60) -> None:
        """Wait until round ``number`` (or a later one) has devices at work."""
        until = time.monotonic() + timeout_s
        query = """
            SELECT 1 FROM jobs_round r JOIN jobs_assignment a ON a.round_id = r.id
            WHERE r.job_id = %s AND r.number >= %s AND a.status = 'bound' LIMIT 1
        """
        while not self.rows(query, job, number):
            assert time.monotonic() < until, f"round {number} never had a device\n{self.log()}"
            time.sleep(0.02)

    def log(self) -> str:
        return self.log_of_devices()[-4000:] + "\n" + self.platform.logs()

    def log_of_devices(self) -> str:
        return (self.folder / "fleet.log").read_text(errors="replace")
