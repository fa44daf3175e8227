"""`propius policy preview` against a scripted server: who asks, what is sent, what is shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk import test_cli
from tests.unit.sdk.test_cli import Server, run
from tests.unit.sdk.test_cli import config as config
from tests.unit.sdk.test_cli import server as server

BASIC = "Basic " + base64.b64encode(b"root:a good one").decode()
ME = ("--operator", "root", "--password", "a good one")


def side(policy: str, waiting_s: float | None) -> dict[str, Any]:
    numbers = {"jobs": 2, "finished": 2, "mean_completion_s": 40.0, "waiting_s": waiting_s}
    tenant = numbers | {"tenant": "acme", "device_s": 80.0}
    return numbers | {"policy": policy, "tenants": [tenant]}


class Console(Server):
    """Previews for root: the answer is there at the second look."""

    fault = ""

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        asked = {"id": "p1", "phase": "asked", "fault": "", "preview": None}
        if (method, path) == ("POST", "/api/v1/policy/previews"):
            if headers["Authorization"] != BASIC:
                return 401, {"code": "not_authenticated", "detail": "Invalid username/password."}
            return 202, asked
        both = {"present": side("fair", None), "proposed": side("srsf", 3.25)}
        return 200, asked | ({"fault": self.fault} if self.fault else {"preview": both})


@pytest.fixture(autouse=True)
def console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_cli, "Server", Console)


def test_both_sides_are_shown_and_the_password_is_sent_once(server: Console) -> None:
    shares = '{"acme": {"weight": 2}}'
    said = run("policy", "preview", "srsf", "--shares", shares, "--url", server.url, *ME)
    for line in ("in force", "acme: waiting_s", "3.25", "srsf"):
        assert line in said
    (_, _, asking, sent), (_, path, looking, _) = server.asked
    assert json.loads(sent)["shares"] == {"acme": {"weight": 2}}
    assert json.loads(sent)["policy"] == "srsf"
    assert path == "/api/v1/policy/previews/p1"
    assert asking["Authorization"] == BASIC
    assert "Authorization" not in looking


def test_the_server_is_the_profiles_and_the_output_may_be_json(
    server: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROPIUS_URL", server.url)
    found = json.loads(run("policy", "preview", *ME, "--output", "json"))
    assert found["proposed"]["waiting_s"] == 3.25


def test_what_is_wrong_is_said(server: Console, config: Path) -> None:
    assert "which server?" in run("policy", "preview", *ME, status=2)
    address = ("--url", server.url)
    said = run("policy", "preview", *ME, *address, "--shares", "{", status=2)
    assert "--shares is no JSON" in said
    assert "a JSON object" in run("policy", "preview", *ME, *address, "--shares", "1", status=2)
    wrong = ("--operator", "root", "--password", "guess")
    said = run("policy", "preview", *wrong, *address, status=2)
    assert "Invalid username/password" in said
    assert "propius login" not in said
    server.fault = "nothing was recorded"
    assert "nothing was recorded" in run("policy", "preview", *ME, *address, status=1)
