"""The command line and its client, against a scripted HTTP server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from propius.cli import app
from propius.client import Client
from propius.http_errors import ApiError
from tests.unit.sdk.agent.scripted import device_home

DIGEST = "a" * 64
TOKEN = "secret-token"
JOB_ID = "0190"
JOB = {
    "id": JOB_ID, "name": "digits", "status": "finished", "outcome": "completed", "version": 2,
    "waiting": {"code": "none", "message": "", "numbers": {}}, "spec": {},
}  # fmt: skip
SPEC = f"""
schema = 1
name = "digits"
parameters = "{DIGEST}"
[workload]
kind = "program"
program = "{DIGEST}"
dataset = "digits"
[rounds]
count = 3
demand = 8
"""
ENROLLED = {
    "device": "d1", "pool": "main", "pool_tenants": ["acme"], "gateway": "ws://127.0.0.1:1/device/v1",
    "data": "http://127.0.0.1:1/data/v1",
    "attributes_schema": [{"name": "os", "type": "string", "unit": "", "description": ""}],
}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, answer = self.server.answer(self.command, self.path, self.headers, body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve  # noqa: N815 - http.server's names

    def log_message(self, *about: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Knows one job, two pages of jobs, and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.programs = ["checking", "valid"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        if path == "/api/v1/devices/enrol":
            if json.loads(body)["token"] != "enrol-me":
                problem = {"code": "token_expired", "detail": "the token expired yesterday"}
                return 403, problem
            return 201, ENROLLED
        if headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"code": "not_authenticated", "detail": "this token is not known"}
        name = path.removeprefix("/api/v1/")
        found: dict[str, tuple[int, Any]] = {
            "GET me": (200, {"tenant": "acme"}),
            "POST jobs": (201, JOB),
            "GET jobs": (200, {"next": f"{self.url}/api/v1/jobs?cursor=2", "results": [JOB]}),
            "GET jobs?cursor=2": (200, {"next": None, "results": [{**JOB, "id": "0191"}]}),
            f"GET jobs/{JOB_ID}": (200, JOB),
            f"POST jobs/{JOB_ID}/cancel": (200, {**JOB, "outcome": "cancelled"}),
            f"GET jobs/{JOB_ID}/rounds": (200, {"next": None, "results": [ROUND]}),
            f"GET jobs/{JOB_ID}/versions": (
                200,
                {"next": None, "results": [{"number": 9}, {"number": 10}]},
            ),
            f"GET jobs/{JOB_ID}/versions/10/download": (200, b"weights"),
            "POST parameters": (201, {"digest": DIGEST}),
            "POST programs": (202, {"digest": DIGEST, "status": "checking"}),
        }
        if name == f"programs/{DIGEST}":
            status = self.programs.pop(0) if len(self.programs) > 1 else self.programs[0]
            return 200, {"digest": DIGEST, "status": status, "errors": {"train.json": "bad op"}}
        missing = (404, {"code": "not_found", "detail": "there is no such thing"})
        return found.get(f"{method} {name}", missing)


ROUND = {
    "id": "r1", "number": 1, "attempt": 1, "kind": "train", "status": "finished", "demand": 8,
    "outcome": "completed", "reported": 8, "metrics": {"loss": 0.25},
    "opened_at": "2026-01-02T03:04:05Z",
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.shutdown()
    thread.join()
    one.server_close()


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PROPIUS_URL", raising=False)
    monkeypatch.delenv("PROPIUS_TOKEN", raising=False)
    return tmp_path / "config" / "propius" / "config.toml"


@pytest.fixture
def signed_in(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("PROPIUS_URL", server.url)
    monkeypatch.setenv("PROPIUS_TOKEN", TOKEN)
    return server


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.output


# --- signing in ---


def test_login_tries_the_token_and_keeps_it_privately(server: Server, config: Path) -> None:
    assert "tenant acme" in run("login", "--url", server.url, "--token", TOKEN)
    assert config.stat().st_mode & 0o777 == 0o600
    assert JOB_ID in run("job", "list")


def test_a_wrong_token_or_address_fails_at_once_and_keeps_nothing(
    server: Server, config: Path
) -> None:
    assert "not known" in run("login", "--url", server.url, "--token", "x", status=2)
    assert "cannot be reached" in run(
        "login", "--url", "http://127.0.0.1:1", "--token", "x", status=2
    )
    assert "starts with http" in run("login", "--url", "localhost", "--token", "x", status=2)
    assert "enrolment token" in run("login", "--url", server.url, "--token", "ppe_x", status=2)
    assert "http://" in run(
        "login", "--url", server.url.replace("http", "https"), "--token", "x", status=2
    )
    assert not config.exists()


def test_without_a_login_the_commands_say_how() -> None:
    assert "propius login --url" in run("job", "list", status=2)


# --- completion ---


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    script = """
        source <(propius --show-completion)
        complete -p propius
        for words in "job su" "policy p" "job submit --wa"; do
            COMP_WORDS=(propius $words)
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _propius_completion propius  # as bash calls it
            echo "$words: ${COMPREPLY[*]}"
        done
    """
    said = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
    ).stdout.splitlines()  # fmt: skip
    assert "_propius_completion propius" in said[0]
    assert said[1:] == ["job su: submit", "policy p: preview", "job submit --wa: --wait"]


# --- jobs ---


def test_submit_checks_the_file_before_anything_is_sent(signed_in: Server, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(SPEC.replace("demand = 8", "demand = -8").replace("count", "count"))
    output = run("job", "submit", str(path), status=2)
    assert "rounds.demand: -8 is not allowed" in output
    assert signed_in.asked == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("job.toml", "= 1", "no TOML"), ("job.json", "{", "no JSON"), ("job.json", "[]", "list")],
)
def test_a_file_that_is_no_job_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert words in run("job", "submit", str(path), status=2)
    assert "there is no file" in run("job", "submit", str(tmp_path / "none.toml"), status=2)


def test_submit_and_wait_prints_rounds_and_the_end(signed_in: Server, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(SPEC)
    output = run("job", "submit", str(path), "--wait", "--idempotency-key", "k1")
    assert f"/jobs/{JOB_ID}/" in output
    assert "round 1 train completed: 8 of 8 reported loss 0.25" in output
    assert f"propius job download {JOB_ID}" in output
    _, _, headers, body = signed_in.asked[0]
    assert headers["Idempotency-Key"] == "k1"
    assert json.loads(body)["rounds"] == {"count": 3, "demand": 8}


def test_list_follows_the_pages_and_prints_json(signed_in: Server) -> None:
    rows = json.loads(run("job", "list", "--output", "json"))
    assert [row["id"] for row in rows] == [JOB_ID, "0191"]


def test_show_cancel_rounds(signed_in: Server) -> None:
    assert "completed" in run("job", "show", JOB_ID)
    assert "cancelled" in run("job", "cancel", JOB_ID)
    assert "loss 0.25" in run("job", "rounds", JOB_ID)
    assert "no such thing" in run("job", "show", "0199", status=1)
    assert "no job id" in run("job", "show", "digits", status=2)


def test_download_saves_the_latest_version_whole(signed_in: Server, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert "7 bytes" in run("job", "download", JOB_ID, str(path))
    assert path.read_bytes() == b"weights"
    run("job", "download", JOB_ID, str(tmp_path / "none"), "--version", "3", status=1)
    assert not list(tmp_path.glob("none*"))
    assert "no number" in run("job", "download", JOB_ID, str(path), "--version", "x", status=2)


# --- uploads ---


def test_uploads_print_the_digest(signed_in: Server, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert run("upload", "parameters", str(path)).strip() == DIGEST
    assert len(signed_in.asked[0][3]) == 3_000_000
    assert run("upload", "program", str(path)).strip() == DIGEST
    assert "no file" in run("upload", "parameters", str(tmp_path / "none"), status=1)
    path.write_bytes(b"PK\x03\x04")
    assert "propius upload program" in run("upload", "parameters", str(path), status=1)


def test_an_invalid_program_is_told_with_its_errors(signed_in: Server, tmp_path: Path) -> None:
    signed_in.programs = ["invalid"]
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert "train.json: bad op" in run("upload", "program", str(path), status=1)


def test_the_client_gives_up_waiting(signed_in: Server) -> None:
    signed_in.programs = ["checking"]
    with (
        Client(signed_in.url, TOKEN) as client,
        pytest.raises(ApiError, match="not finished after 0 s"),
    ):
        client.wait_program(DIGEST, timeout_s=0)


# --- devices ---


def test_enrol_then_status(server: Server, tmp_path: Path) -> None:
    home = str(tmp_path / "device")
    output = run("device", "enrol", "--url", server.url, "--token", "enrol-me", "--home", home)
    assert "joined pool main" in output
    assert f"propius device run --home {home}" in output
    sent = json.loads(server.asked[0][3])
    assert len(sent["public_key"]) == 64
    key = (tmp_path / "device" / "device.key").read_text()
    assert key.encode() not in server.asked[0][3]
    found = json.loads(run("device", "status", "--home", home, "--output", "json"))
    assert found["device"] == "d1"
    assert list(found["attributes"]) == ["os"]


def test_enrolling_again_uses_the_same_key(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        run("device", "enrol", "--url", server.url, "--token", "enrol-me", "--home", str(tmp_path))
    first, second = (json.loads(body)["public_key"] for *_, body in server.asked)
    assert first == second


def test_a_wrong_enrolment_token_fails_at_once(server: Server, tmp_path: Path) -> None:
    arguments = ["device", "enrol", "--url", server.url, "--token", "x", "--home", str(tmp_path)]
    assert "expired yesterday" in run(*arguments, status=1)
    assert not (tmp_path / "device.json").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("propius.example", "it starts with http:// or https://"),
        ("http://127.0.0.1:1", "check the address and the network"),
    ],
)
def test_a_device_fails_at_once_at_a_wrong_address(tmp_path: Path, url: str, words: str) -> None:
    asked = ["device", "enrol", "--token", "t", "--home", str(tmp_path)]
    assert words in run(*asked, "--url", url, status=2)
    assert not (tmp_path / "device.json").exists()


def test_status_says_the_consents_in_words(tmp_path: Path) -> None:
    output = run("device", "status", "--home", str(device_home(tmp_path)))
    assert (
        "tenants of this pool (acme, globex): programs and handlers and queries on every data set"
        in output
    )
    assert "anybody else: nothing" in output


def test_status_names_a_data_set_without_its_file(tmp_path: Path) -> None:
    home = device_home(tmp_path)
    (home / "datasets.toml").write_text('[digits]\npath = "none.npz"\n')
    output = run("device", "status", "--home", str(home))
    assert "warning: data set 'digits'" in output
    assert "none.npz" in output


def test_run_without_a_device_says_how_to_enrol(tmp_path: Path) -> None:
    assert "propius device enrol" in run("device", "run", "--home", str(tmp_path), status=1)
