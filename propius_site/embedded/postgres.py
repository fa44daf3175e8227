"""Embedded PostgreSQL 18: first set-up and the command that runs it."""

import os
import shutil
import subprocess
from pathlib import Path

from propius_site.embedded import binaries, folders, processes
from propius_site.embedded.paths import POSTGRES_PORT, Paths

SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "",  # the socket in a 0700 folder is the only door
    "unix_socket_permissions": "0700",
    # Tens of processes with small pools each; the wheel's default of 100 is too few.
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    # An acknowledged update has to be there after a power cut, in development too.
    "fsync": "on",
    "synchronous_commit": "on",
    # /dev/shm is 64 MB in a container, and no query here is worth a parallel plan.
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "jit": "off",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "15s",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class InitFailed(RuntimeError):
    """initdb did not make a database cluster."""


def command(paths: Paths) -> list[str]:
    """Return the server's command line: all settings are on it, no file keeps older ones."""
    options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
    server = str(binaries.locate().postgres)
    where = ["-D", str(paths.pgdata), "-k", str(paths.sockets), "-p", str(POSTGRES_PORT)]
    return [server, *where, *options]


def make_ready(paths: Paths) -> None:
    """Create the cluster if there is none, and clear what a killed run left behind.

    Raises
    ------
    InitFailed
        With what initdb said.
    """
    folders.create(paths)
    if (paths.pgdata / "PG_VERSION").is_file():
        # After SIGKILL of the postmaster its backends may live on for a moment and hold the
        # shared memory, and the next postmaster would refuse to start beside them.
        processes.stop_all_in(paths.pgdata, "postgres")
        return
    _initdb(paths)


def _initdb(paths: Paths) -> None:
    user = folders.service_user()
    # Complete or absent: initdb cut short must not be taken for a cluster.
    partial = paths.state / "postgres.partial"
    for leftover in (partial, paths.pgdata):
        if leftover.exists():
            shutil.rmtree(leftover)
    folders.private(partial, user)
    made = subprocess.run(
        [
            str(binaries.locate().initdb),
            f"--pgdata={partial}",
            f"--username={SUPERUSER}",
            "--auth=trust",  # who can enter the socket's 0700 folder is already the owner
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--lc-messages=C",
            "--lc-ctype=C",
            "--lc-collate=C",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
        preexec_fn=lambda: processes.drop_to(user),
    )
    if made.returncode:
        raise InitFailed(f"initdb failed ({made.returncode}): {made.stderr.strip()[-2000:]}")
    partial.rename(paths.pgdata)


def conninfo(paths: Paths, *, user: str = SUPERUSER, database: str = "postgres") -> dict[str, str]:
    return {
        "host": str(paths.sockets),
        "port": str(POSTGRES_PORT),
        "user": user,
        "dbname": database,
    }


def pid(paths: Paths) -> int | None:
    """Return the postmaster's pid as its own file has it."""
    file = Path(paths.pgdata / "postmaster.pid")
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
