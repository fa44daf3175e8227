"""The environment that settings are read from: fail loudly, with the fix."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from propius_site import environment
from propius_site.embedded import paths

BASE_DIR = Path(__file__).resolve().parent.parent.parent
PRODUCTION = {
    "DATABASE_URL": "postgresql://owner:pw@db:5432/propius",
    "REDIS_URL": "redis://redis:6379/0",
    "PROPIUS_SECRET_KEY": "x" * 50,
    "PROPIUS_PUBLIC_URL": "https://propius.example.org",
}


def test_complete_production_settings_pass() -> None:
    environment.check_production(PRODUCTION)


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL=postgresql://"),
        ({"REDIS_URL": ""}, "REDIS_URL=redis://"),
        ({"PROPIUS_SECRET_KEY": environment.DEVELOPMENT_SECRET}, "token_urlsafe"),
        ({"PROPIUS_SECRET_KEY": "short"}, "token_urlsafe"),
        ({"PROPIUS_SECRET_KEY": "x" * 49}, "shorter than 50 characters"),
        ({"PROPIUS_PUBLIC_URL": ""}, "https://propius.example.org"),
        ({"PROPIUS_PUBLIC_URL": "http://propius.example.org"}, "use https://"),
    ],
)
def test_unsafe_production_settings_stop_with_the_fix(change: dict[str, str], fix: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=next(iter(change))) as caught:
        environment.check_production(PRODUCTION | change)
    assert fix in str(caught.value)


def test_secrets_that_are_being_replaced_are_parted_by_blanks_and_long() -> None:
    name, old = "PROPIUS_SECRET_KEY_FALLBACKS", ["a" * 40, "b" * 40]
    assert environment.secrets({name: " ".join(old)}, name) == old
    assert environment.secrets({}, name) == []
    with pytest.raises(ImproperlyConfigured, match=f"{name}: 5 characters .* at least 32"):
        environment.secrets({name: "short"}, name)


def test_plain_http_is_fine_on_loopback() -> None:
    environment.check_production(PRODUCTION | {"PROPIUS_PUBLIC_URL": "http://127.0.0.1:8000"})


def test_a_production_start_stops_with_one_message_and_no_traceback() -> None:
    kept = {name: value for name, value in os.environ.items() if "PROPIUS" not in name}
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=BASE_DIR,
        env=kept | {"PROPIUS_ENV": "production"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "DATABASE_URL is not set" in done.stderr
    assert "PROPIUS_SECRET_KEY is missing" in done.stderr


def test_a_bad_value_names_the_variable_and_what_is_allowed() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"PROPIUS_ENV='prod'.*development, production"):
        environment.choice(
            {"PROPIUS_ENV": "prod"}, "PROPIUS_ENV", "development", ("development", "production")
        )
    with pytest.raises(ImproperlyConfigured, match="PROPIUS_WEB_PORT='http'"):
        environment.port({"PROPIUS_WEB_PORT": "http"}, "PROPIUS_WEB_PORT", 8000)
    with pytest.raises(ImproperlyConfigured, match="X='blobs': a path as in /propius-blobs"):
        environment.path_prefix({"X": "blobs"}, "X")
    assert environment.path_prefix({"X": "/blobs/"}, "X") == "/blobs"


def test_an_external_login_works_as_the_role_of_the_process() -> None:
    found = environment.database(PRODUCTION, Path("/home/x"), "app")
    assert found["OPTIONS"]["options"] == "-c role=propius_app"
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db", "5432", "propius")


def test_a_login_of_its_own_is_left_as_it_is() -> None:
    own = {"PROPIUS_DATABASE_URL_APP": "postgresql://web@db/propius?sslmode=require"}
    found = environment.database(PRODUCTION | own, Path("/home/x"), "app")
    assert found["USER"] == "web"
    assert "options" not in found["OPTIONS"]
    assert found["OPTIONS"]["sslmode"] == "require"


def test_there_is_no_sqlite_mode() -> None:
    with pytest.raises(ImproperlyConfigured, match="no SQLite"):
        environment.database({"DATABASE_URL": "sqlite:///db"}, Path("/home/x"), "app")


@pytest.mark.parametrize("home", ["/short", "/" + "deep/" * 60])
def test_socket_paths_fit_a_unix_socket_address(home: str) -> None:
    where = paths.for_home(Path(home))
    assert len(os.fsencode(where.postgres_socket)) <= 107
    assert len(os.fsencode(where.valkey_socket)) <= 107


def test_celery_gets_the_unix_socket_in_its_own_spelling() -> None:
    assert environment.broker_url("unix:///run/v.sock") == "redis+socket:///run/v.sock"
    assert environment.broker_url("redis://r:6379/0") == "redis://r:6379/0"


@pytest.mark.parametrize("application", ["web", "gateway"])
def test_web_and_gateway_never_import_torch(application: str) -> None:
    code = (
        f"from propius_site.asgi import {application}\n"
        "import sys\n"
        "print(sorted({'torch', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
