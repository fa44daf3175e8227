"""Postgres's own pg_dump and pg_restore, run against the platform's database."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from django.conf import settings

from propius_site import roles
from propius_site.embedded import binaries


class ToolFailed(RuntimeError):
    """pg_dump or pg_restore is missing or has failed; the text is its own."""


def dump(target: Path, *, snapshot: str) -> None:
    """Write the rows that ``snapshot`` sees to ``target``. Raises ToolFailed."""
    # Every table is under row-level security, and its owner is shown all rows.
    options = ["--format=custom", "--enable-row-security", f"--snapshot={snapshot}"]
    _run("pg_dump", *options, f"--file={target}")


def restore(source: Path) -> None:
    """Load a dump into the empty database, all of it or nothing. Raises ToolFailed."""
    _run("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(source))


def _run(tool: str, *options: str) -> None:
    database = settings.DATABASES["default"]
    known = {
        "PGHOST": database["HOST"], "PGPORT": database["PORT"], "PGUSER": database["USER"],
        "PGPASSWORD": database.get("PASSWORD", ""), "PGDATABASE": database["NAME"],
        "PGSSLMODE": database["OPTIONS"].get("sslmode", ""),
        "PGSSLROOTCERT": database["OPTIONS"].get("sslrootcert", ""),
    }  # fmt: skip
    environment = os.environ | {name: str(value) for name, value in known.items() if value}
    named = ["--dbname", str(database["NAME"])] if tool == "pg_restore" else []
    done = subprocess.run(
        [_path(tool, database), f"--role={roles.OWNER}", "--no-password", *named, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolFailed(f"{tool} failed: {done.stderr.strip()[-1500:]}")


def _path(tool: str, database: dict[str, Any]) -> str:
    if not os.environ.get("DATABASE_URL"):
        return str(binaries.locate().postgres.with_name(tool))
    found = shutil.which(tool)
    if found is None:
        raise ToolFailed(
            f"{tool} is not installed: install PostgreSQL's client of the server's version "
            f"(of {database['HOST'] or 'the local server'}) and put it on PATH"
        )
    return found
