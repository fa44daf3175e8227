"""The settings of production: Django's own check is content, and answers carry the headers."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn
from django.test import Client

from propius_site.handler import Handler

BASE_DIR = Path(__file__).resolve().parents[3]
ENVIRONMENT = {
    "PROPIUS_ENV": "production",
    "PROPIUS_SECRET_KEY": "tRz0Jx8Kq2mVn5Yb7Wc1Le4Hd9Sf6GaUo3PiNkMvBwXyZt-QrT5uV8wX2yZ4aB6c",
    "PROPIUS_PUBLIC_URL": "https://propius.example.org",
    "DATABASE_URL": "postgresql://nobody:none@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
NAMES = [
    "SECURE_HSTS_SECONDS", "SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_SSL_REDIRECT",
    "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE",
    "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE", "DEBUG", "ALLOWED_HOSTS",
]  # fmt: skip


def in_production(*command):
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, *command], cwd=BASE_DIR, env=kept | ENVIRONMENT, check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_deployment_check_finds_nothing():
    done = in_production("manage.py", "check", "--deploy", "--fail-level", "INFO")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout


@pytest.fixture
def as_in_production(settings):
    script = (
        "import json\nfrom propius_site import settings\n"
        f"print(json.dumps({{name: getattr(settings, name, None) for name in {NAMES}}}))"
    )
    done = in_production("-c", script)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, value in found.items():
        if value is not None:
            setattr(settings, name, value)
    return found


def test_answers_are_for_tls_only_and_allow_nothing_inline(db, as_in_production):
    assert as_in_production["DEBUG"] is False
    client = Client(headers={"Host": "propius.example.org"})
    for said in ({}, {"X-Forwarded-Proto": "https"}):
        plain = client.get("/sign-in/", headers=said)
        assert (plain.status_code, plain.headers["Location"]) == (
            301, "https://propius.example.org/sign-in/",
        )  # fmt: skip
    page = client.get("/sign-in/", secure=True)
    assert page.status_code == 200
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "same-origin"
    cookie = page.cookies["csrftoken"]
    assert cookie["secure"]
    assert cookie["samesite"] == "Lax"
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400


def test_the_session_cookie_is_for_tls_and_out_of_scripts_reach(db, as_in_production):
    from django.contrib.auth.models import User

    User.objects.create_user("ada", password="correct horse")
    client = Client(headers={"Host": "propius.example.org"})
    form = {"username": "ada", "password": "correct horse"}
    answer = client.post("/sign-in/", form, secure=True)
    cookie = answer.cookies["sessionid"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")


@pytest.mark.parametrize(("trusted", "status"), [("127.0.0.1", 404), ("192.0.2.1", 301)])
async def test_a_proxys_word_on_tls_counts_if_the_proxy_is_trusted(
    as_in_production, trusted, status
):
    config = uvicorn.Config(
        Handler(), port=0, lifespan="off", log_config=None, forwarded_allow_ips=trusted
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /api/v1/nowhere HTTP/1.1\r\nHost: propius.example.org\r\n"
            b"X-Forwarded-Proto: https\r\n\r\n"
        )
        assert f" {status} ".encode() in await reader.readline()
        writer.close()
    finally:
        server.should_exit = True
        await task


def test_a_wrong_path_of_the_api_is_a_problem_too(client, db):
    answer = client.get("/api/v1/nowhere")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
