"""A tenant with something on every page: months of rows, a fleet at work, one of each setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save

from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform

SLUG, OPERATOR, PASSWORD = "aurora", "root", "watching-rounds"
DEVICES = 8


class Stage:
    """What the pages show, and the words to come in with."""

    def __init__(self, platform: RunningPlatform, folder: Path) -> None:
        self.platform = platform
        self.owner = f"{SLUG}-owner"
        # Before the fleet: the first to name the tenant sets the password of its owner.
        platform.manage(
            "seed", "--tenant", SLUG, "--password", PASSWORD,
            "--jobs", "12", "--rounds", "240", "--devices", "60",
        )  # fmt: skip
        platform.manage("provision", "--operator", OPERATOR, "--password", PASSWORD)
        self.fleet = Fleet(platform, folder, slug=SLUG, count=DEVICES)
        self.finished = [str(one["id"]) for one in self._all("/jobs?status=completed")]
        self.parameters = self.fleet.client.upload_parameters(
            save({"weight": np.zeros(8, dtype=np.float32)})
        )
        for one in self._all("/jobs?status=submitted") + self._all("/jobs?status=running"):
            # What the seed leaves open asks for devices that are not there.
            self.call("POST", f"/jobs/{one['id']}/cancel")
        self.device = str(self._all("/devices")[0]["id"])
        # Others' fleets may have worked here before: a task of theirs is no page of ours.
        mine = f"SELECT id FROM tenants_tenant WHERE slug = '{SLUG}'"
        of_shared = "SELECT id FROM clients_device WHERE tenant_id IS NULL"
        task = f"""SELECT id FROM jobs_assignment
            WHERE tenant_id = ({mine}) AND device_id IN ({of_shared}) LIMIT 1"""
        self.task = str(self.fleet.rows(task)[0][0])
        invited = self.call("POST", "/invitations", {"name": "Eve", "role": "viewer"})
        self.invitation = invited["link"].split("invitation=")[1]
        self.call("POST", "/tokens", {"name": "nightly"})
        self.call(
            "POST",
            "/webhooks",
            {"url": "https://hooks.example.org/propius", "kinds": ["job.failed"]},
        )

    def start(self) -> Stage:
        """Let the devices come, and give them a job that outlasts the tests."""
        self.fleet.start()
        learns = {
            "kind": "handler", "handler": "add", "dataset": "numbers",
            # Long enough for the machine to have time for the pages.
            "config": {"seconds": 3.0, "learns": True},
        }  # fmt: skip
        self.running = self.fleet.submit(rounds=2000, demand=6, name="leaf-blight", workload=learns)
        self.fleet.wait_for_round(self.running, number=2)
        return self

    def stop(self) -> None:
        """Leave nothing that asks for devices."""
        if hasattr(self, "running"):
            self.call("POST", f"/jobs/{self.running}/cancel")
        self.fleet.stop()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the API as the tenant."""
        answer = httpx.request(
            method, f"{self.platform.url}/api/v1{path}", json=body,
            headers={"Authorization": f"Bearer {self.fleet.token}"}, timeout=30,
        )  # fmt: skip
        assert answer.is_success, answer.text
        return json.loads(answer.content or "null")

    def _all(self, path: str) -> list[dict[str, Any]]:
        return list(self.call("GET", path)["results"])
