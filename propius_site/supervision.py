"""The process set: supervisor's configuration, and its start, questions and end.

supervisor restarts a process that dies, alone, at first at once and then after 1, 2, 3… seconds;
after `startretries` it gives up (FATAL), so `up` asks again for ever: see `revive`.
"""

import math
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client  # nosec B411 - speaks to our own supervisor, over a socket of ours
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from core import knobs
from propius_site.embedded import processes
from propius_site.embedded.paths import Paths

BASE_DIR = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Program:
    """One process: how it starts and how it is asked to end."""

    name: str
    command: tuple[str, ...]
    role: str | None = None  # of Postgres; None for the servers
    stop_signal: str = "TERM"
    stop_wait_s: int = 10


def _module(name: str, *args: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *args)


def servers(paths: Paths, *, postgres: bool, valkey: bool) -> list[Program]:
    """Return the embedded servers that the environment's URLs leave to us."""
    run = "propius_site.embedded"
    home = str(paths.home)
    found = []
    if postgres:  # INT: fast shutdown
        found.append(Program("postgres", _module(run, "postgres", home), None, "INT", 30))
    if valkey:
        found.append(Program("valkey", _module(run, "valkey", home)))
    return found


APPS = [
    Program("web", _module("propius_site.serve", "web"), "app"),
    Program(
        "gateway",
        _module("propius_site.serve", "gateway"),
        "system",
        # Its devices are sent away first; then sockets close and rows are moved to their end.
        stop_wait_s=math.ceil(knobs.get().drain_s) + 12,
    ),
    Program("worker-scheduling", _module("propius_site.work", "scheduling"), "system"),
    Program("worker-aggregation", _module("propius_site.work", "aggregation"), "system"),
    Program("worker-batch", _module("propius_site.work", "batch"), "system"),
    Program("beat", _module("propius_site.work", "beat"), "system"),
]
# Plans are fenced by version, so two planners at once do no harm; either goes on without the other.
STANDBY = Program("worker-scheduling-2", _module("propius_site.work", "scheduling"), role="system")


def configuration(paths: Paths, programs: list[Program]) -> str:
    """Return supervisord's configuration file."""
    # One gateway holds thousands of sockets; supervisord raises the limit for its children.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    lines = [
        "[supervisord]",
        "nodaemon = true",
        "silent = true",
        f"logfile = {_escaped(paths.logs / 'supervisord.log')}",
        f"pidfile = {_escaped(paths.run / 'supervisord.pid')}",
        f"directory = {_escaped(BASE_DIR)}",
        f"minfds = {files}",
        "umask = 077",
        *(["user = root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file = {_escaped(paths.control / 'supervisor.sock')}",
        "chmod = 0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for priority, program in enumerate(programs, start=1):
        lines += _program(paths, program, priority)
    return "\n".join(lines) + "\n"


def _program(paths: Paths, program: Program, priority: int) -> list[str]:
    # One thread per process for the numeric libraries: there are more processes than cores.
    environment = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    if program.role:
        environment["PROPIUS_DB_ROLE"] = program.role
    return [
        f"[program:{program.name}]",
        f"command = {_escaped(shlex.join(program.command))}",
        "environment = " + ",".join(f'{name}="{value}"' for name, value in environment.items()),
        f"priority = {priority}",
        "autostart = false",
        "autorestart = true",
        "startsecs = 1",
        "startretries = 3",
        f"stopsignal = {program.stop_signal}",
        f"stopwaitsecs = {program.stop_wait_s}",
        "killasgroup = true",
        "redirect_stderr = true",
        f"stdout_logfile = {_escaped(paths.logs / (program.name + '.log'))}",
        "stdout_logfile_maxbytes = 20MB",
        "stdout_logfile_backups = 2",
    ]


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


class Supervisor:
    """A running supervisord, spoken to over its unix socket."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, programs: list[Program]) -> None:
        """Start supervisord with all programs stopped.

        Raises
        ------
        RuntimeError
            If it ends or does not answer.
        """
        file = self.paths.run / "supervisord.conf"
        file.write_text(configuration(self.paths, programs))
        (self.paths.control / "supervisor.sock").unlink(missing_ok=True)
        with (self.paths.logs / "supervisord.out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
                cwd=BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for `up`, which stops things in order.
                start_new_session=True,
                preexec_fn=lambda: processes.die_with_parent(signal.SIGTERM),
            )
        until = time.monotonic() + 15
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self._ask("getState")
            except OSError:
                time.sleep(0.05)
            else:
                return
        said = (self.paths.logs / "supervisord.out").read_text(errors="replace").strip()
        raise RuntimeError(f"supervisord did not start: {said[-1000:]}")

    def _ask(self, question: str, *args: object) -> Any:
        socket = f"unix://{self.paths.control / 'supervisor.sock'}"
        transport = SupervisorTransport(None, None, socket)
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, question)(*args)

    def launch(self, name: str) -> None:
        self._ask("startProcess", name, False)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return supervisor's record of every program: pid, statename, spawnerr…"""
        return {info["name"]: info for info in self._ask("getAllProcessInfo")}

    def revive(self) -> list[str]:
        """Start again what supervisor gave up on; return the names."""
        given_up = [name for name, info in self.states().items() if info["statename"] == "FATAL"]
        for name in given_up:
            self.launch(name)
        return given_up

    def stop(self, names: list[str]) -> None:
        """Ask all of them to end, then wait until they have."""
        states = self.states()
        for name in names:
            if states[name]["statename"] in ("STARTING", "RUNNING", "BACKOFF"):
                try:
                    self._ask("stopProcess", name, False)
                except xmlrpc.client.Fault:  # it ended by itself just now
                    continue
        ended = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
        # Supervisor kills at each one's stopwaitsecs.
        until = time.monotonic() + 40 + knobs.get().drain_s
        while time.monotonic() < until:
            states = self.states()
            if all(states[name]["statename"] in ended for name in names):
                return
            time.sleep(0.05)

    def shutdown(self) -> None:
        """End supervisord; its remaining programs with it."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=45)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
