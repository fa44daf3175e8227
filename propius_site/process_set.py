"""`manage.py up`: start the process set in order, watch over it, and stop it in reverse."""

import fcntl
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any

import psycopg
import redis
from django.conf import settings
from django.db import connection

from propius_site import ports, preparing, supervision
from propius_site.embedded import folders, paths, postgres

Say = Callable[[str], None]


class StartFailed(RuntimeError):
    """The platform could not start; the message says which part and where its log is."""


class Platform:
    """The process set of one PROPIUS_HOME."""

    def __init__(self, say: Say, *, standby: bool = False) -> None:
        self.say = say
        self.apps = [*supervision.APPS, *([supervision.STANDBY] if standby else [])]
        self.paths = paths.for_home(settings.PROPIUS_HOME)
        self.servers = supervision.servers(
            self.paths,
            postgres=not os.environ.get("DATABASE_URL"),
            valkey=not os.environ.get("REDIS_URL"),
        )
        self.supervisor = supervision.Supervisor(self.paths)
        self.lock: IO[str] | None = None

    def start(self) -> None:
        """Start everything and return when /readyz answers.

        Raises
        ------
        StartFailed, ports.PortTaken, preparing.NotPrepared
        """
        folders.create(self.paths)
        self._lock()
        for what, port in (
            ("web site", settings.PROPIUS_WEB_PORT),
            ("gateway", settings.PROPIUS_GATEWAY_PORT),
        ):
            variable = f"PROPIUS_{'WEB' if what == 'web site' else 'GATEWAY'}_PORT"
            ports.check(host=settings.PROPIUS_BIND, port=port, what=what, variable=variable)
        self.supervisor.start([*self.servers, *self.apps])
        self._start_servers()
        self.say("preparing the database")
        preparing.roles_and_database(settings.PROPIUS_HOME)
        preparing.migrate(self.say)
        _leave_database()
        if settings.PRODUCTION:
            self._collect_static()
        for program in self.apps:
            self.supervisor.launch(program.name)
        self.say("starting " + ", ".join(program.name for program in self.apps))
        for what, port in (
            ("web", settings.PROPIUS_WEB_PORT),
            ("gateway", settings.PROPIUS_GATEWAY_PORT),
        ):
            self._wait(what, lambda port=port: _ready(port), timeout_s=150)  # type: ignore[misc]

    def start_servers(self) -> None:
        """Start the embedded servers alone, for work that nobody may disturb. Raises StartFailed.

        A platform that runs holds the same lock, so it is refused here.
        """
        self.apps = []
        folders.create(self.paths)
        self._lock()
        if self.servers:
            self.supervisor.start(self.servers)
        self._start_servers()

    def _lock(self) -> None:
        file = (self.paths.run / "up.lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StartFailed(
                f"It is running already for {self.paths.home} (pid {file.read().strip()}): use "
                "that, stop it with Ctrl-C, or set another PROPIUS_HOME and other ports."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self.lock = file

    def _start_servers(self) -> None:
        for program in self.servers:
            self.say(f"starting embedded {program.name}")
            self.supervisor.launch(program.name)
        if not self.servers or os.environ.get("DATABASE_URL"):
            self.say("using the Postgres of DATABASE_URL")
        self._wait("postgres", self._postgres_answers, timeout_s=60)
        if os.environ.get("REDIS_URL"):
            self.say("using the Redis of REDIS_URL")
        self._wait("valkey", _redis_answers, timeout_s=30)

    def _postgres_answers(self) -> str | None:
        url = os.environ.get("DATABASE_URL")
        try:
            if url:
                psycopg.connect(url, connect_timeout=3).close()
            else:
                psycopg.connect(**postgres.conninfo(self.paths)).close()  # type: ignore[arg-type]
        except psycopg.OperationalError as error:
            return str(error).strip()
        return None

    def _wait(self, name: str, ask: Callable[[], str | None], *, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while (problem := ask()) is not None:
            info = self.supervisor.states().get(name, {})
            if info.get("statename") == "FATAL" or time.monotonic() > until:
                raise StartFailed(f"{name} did not start: {problem}\n{self._log_tail(name)}")
            time.sleep(0.1)

    def _log_tail(self, name: str) -> str:
        file = self.paths.logs / f"{name}.log"
        if not file.exists():
            return ""
        lines = file.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"The end of {file}:", *(f"  {line}" for line in lines)])

    def _collect_static(self) -> None:
        from django.core.management import call_command

        self.say("collecting static files")
        call_command("collectstatic", interactive=False, verbosity=0)

    def watch(self) -> None:
        """Bring back for ever what supervisor gives up on; returns only if supervisord ends."""
        seen = {name: info["pid"] for name, info in self.supervisor.states().items()}
        while self.supervisor.process and self.supervisor.process.poll() is None:
            time.sleep(2)
            try:
                for name in self.supervisor.revive():
                    self.say(f"{name} keeps ending: see {self.paths.logs / name}.log; trying again")
                for name, info in self.supervisor.states().items():
                    if info["statename"] == "RUNNING" and info["pid"] != seen[name]:
                        seen[name] = info["pid"]
                        self.say(f"{name} was restarted (pid {info['pid']})")
            except OSError:  # supervisord is ending, or busy
                continue

    def stop(self) -> None:
        """Stop the apps, then the servers; safe after a start that failed half-way."""
        process = self.supervisor.process
        if process and process.poll() is None:
            self.say("stopping")
            try:
                self.supervisor.stop([program.name for program in self.apps])
                self.supervisor.stop([program.name for program in reversed(self.servers)])
            except OSError as error:
                self.say(f"supervisord does not answer ({error}): ending it")
            self.supervisor.shutdown()
        if self.lock:
            self.lock.close()
            self.lock = None


def _leave_database() -> None:
    connection.close()
    close_pool: Any = getattr(connection, "close_pool", None)
    if close_pool:  # its threads would log every moment that Postgres is away
        close_pool()


def _redis_answers() -> str | None:
    try:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3)
        client.ping()
        client.close()
    except redis.RedisError as error:
        return str(error)
    return None


def _ready(port: int) -> str | None:
    host = settings.PROPIUS_BIND
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # nosec B104 - asked, not bound
    host = anywhere.get(host, f"[{host}]" if ":" in host else host)
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=5):
            return None
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace").strip()
    except OSError as error:
        return str(error)
