"""The real Postgres and Valkey for every test that asks for the database.

They start with the first such test, so `pytest tests/unit` starts nothing.
"""

import atexit
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

BASE_DIR = Path(__file__).resolve().parent.parent
OWN_PROCESS_SET = ("test_benchmarks.py", "test_demo.py", "test_embedded.py")
"""Tests of tests/e2e that start processes of their own."""


def _free_home() -> tuple[Path, IO[str]]:
    """Return a home that no other pytest of this clone works in, and the lock on it."""
    for number in range(1, 20):
        home = BASE_DIR / ".propius" / f"test-{number}"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "pytest.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return home, lock
    raise RuntimeError("20 runs of pytest at once in this clone")


# Before Django reads its settings, and whatever the developer's terminal has set.
for name in [name for name in os.environ if name.startswith("PROPIUS_")]:
    del os.environ[name]
os.environ.pop("DATABASE_URL", None)
os.environ.pop("REDIS_URL", None)
TEST_HOME, _lock = _free_home()
atexit.register(_lock.close)
os.environ["PROPIUS_HOME"] = str(TEST_HOME)
os.environ["PROPIUS_DB_ROLE"] = "owner"  # creates and flushes the test database
os.environ["DJANGO_SETTINGS_MODULE"] = "propius_site.settings"

# Not in pyproject.toml: pytest-django would read the settings before the lines above.
from django.conf import settings  # noqa: E402

settings.PROPIUS_HOME  # noqa: B018 - reads them now, and pytest-django then sets Django up


class FaultsAtOnce:
    """Names each failure as it happens: a run that is cut off never comes to its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = crash.message.splitlines()[0] if crash else ""
            terminal = self._plugins.get_plugin("terminalreporter")
            terminal.write_line(f"\n{report.nodeid} ({report.when}): {said[:200]}")


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(FaultsAtOnce(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Let each process find a home of its own before it reads the settings, as this one did."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):  # type: ignore[no-untyped-def]
    """Let one process of several take all tests that share a process set; the rest go by file."""
    from xdist.scheduler import LoadScopeScheduling

    class OneProcessSet(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            shares = file.startswith("tests/e2e/") and not file.endswith(OWN_PROCESS_SET)
            return "the process set" if shares else file

    return OneProcessSet(config, log)


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[Path]:
    """Real Postgres and Valkey of this run's PROPIUS_HOME, which it yields."""
    import psycopg
    import redis

    from propius_site import preparing
    from propius_site.embedded import folders, paths, postgres

    where = paths.for_home(TEST_HOME)
    folders.create(where)
    running = []
    for server in ("postgres", "valkey"):
        with (where.logs / f"{server}.log").open("ab") as log:
            command = [sys.executable, "-m", "propius_site.embedded", server, str(TEST_HOME)]
            running.append(subprocess.Popen(command, cwd=BASE_DIR, stdout=log, stderr=log))
    try:
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(**postgres.conninfo(where)).close()
                with redis.Redis.from_url(f"unix://{where.valkey_socket}") as client:
                    client.ping()
                break
            except (psycopg.OperationalError, redis.ConnectionError):
                if time.monotonic() > until or any(one.poll() is not None for one in running):
                    raise
                time.sleep(0.05)
        preparing.roles_and_database(TEST_HOME)
        yield TEST_HOME
    finally:
        running[0].send_signal(2)  # Postgres: fast shutdown
        running[1].terminate()
        for one in running:
            one.wait(timeout=30)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(embedded_servers: Path) -> None:
    """pytest-django asks for this before it creates the test database."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):  # type: ignore[no-untyped-def]
    """Give the app and system roles their rights in the test database too."""
    from django.db import connection
    from django.db.backends.signals import connection_created

    from propius_site import roles

    def as_owner(connection, **_):  # type: ignore[no-untyped-def]
        # The pool hands on connections with the role that their last user set.
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")

    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            roles.grant(cursor)
            # No test here cuts the power; those that kill servers have a platform of their own.
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        again = _keep_rows_of_migrations()
        connection.close()
        connection.close_pool()
        connection_created.connect(as_owner, weak=False, dispatch_uid="tests.as_owner")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("django.test.TransactionTestCase._fixture_teardown", _emptying(again))
        yield
    connection_created.disconnect(dispatch_uid="tests.as_owner")


KEPT = {"django_content_type", "auth_permission", "django_migrations"}
"""Tables that say what the code has, not what a test did."""


def _keep_rows_of_migrations() -> list[str]:
    """Copy what migrations have filled in; returns what empties all tables and puts it back."""
    from django.db import connection

    tables = sorted(set(connection.introspection.table_names()) - KEPT)
    again = [f'DELETE FROM "{table}"' for table in tables]
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA kept")
        for table in tables:
            cursor.execute(f'SELECT EXISTS (SELECT FROM "{table}")')
            if cursor.fetchone() == (True,):
                cursor.execute(f'CREATE TABLE kept."{table}" AS TABLE "{table}"')
                again.append(f'INSERT INTO "{table}" SELECT * FROM kept."{table}"')
    return again


def _emptying(statements: list[str]) -> Callable[[object], None]:
    def empty(case: object) -> None:
        """Take away what a transactional test wrote, as the owner.

        Django truncates every table and makes the permissions of all models anew: in all, it
        takes thirty times as long as deleting the few rows that there are.
        """
        from django.db import connection

        with connection.cursor() as cursor:
            # In one transaction: foreign keys are checked at its end.
            cursor.execute("; ".join(statements))

    return empty


@pytest.fixture
def redis(embedded_servers):  # type: ignore[no-untyped-def]
    """A client of the real Valkey, empty before and after the test."""
    import redis
    from django.conf import settings

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushall()
        yield client
        client.flushall()
