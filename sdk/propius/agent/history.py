"""The device's own record of what ran, for whom and at what cost; a crash leaves it whole (SQLite).

Nothing here is ever sent. The file is opened for each call and closed again: an idle agent holds
none, and ``propius device history`` reads it while the agent runs.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from propius import wire

KEEP_S = 366 * 86_400.0
RUNNING = "running"

_TABLES = """
CREATE TABLE IF NOT EXISTS work (
    assignment TEXT PRIMARY KEY,
    started_at REAL NOT NULL,
    ended_at REAL,
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    job_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    dataset TEXT NOT NULL,
    outcome TEXT NOT NULL,
    bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    energy_j REAL
);
CREATE TABLE IF NOT EXISTS used (
    day REAL PRIMARY KEY,
    seconds REAL NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS work_by_start ON work (started_at);
CREATE TABLE IF NOT EXISTS threshold (
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    digest TEXT NOT NULL,
    tried_at REAL NOT NULL,
    PRIMARY KEY (tenant, job, digest)
);
"""
_VERSION = 2
_FROM_1 = """
INSERT OR IGNORE INTO used
SELECT CAST(strftime('%s', started_at, 'unixepoch', 'localtime', 'start of day', 'utc') AS REAL),
       sum(seconds), sum(bytes_in + bytes_out)
FROM work GROUP BY 1;
"""
"""Of version 1, which knew when an assignment began, and not on which days it worked."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One assignment. Times are seconds since 1970; ``energy_j`` is None where not measured."""

    assignment: str
    started_at: float
    ended_at: float | None
    tenant: str
    job: str
    job_name: str
    kind: str
    dataset: str
    outcome: str
    bytes_in: int
    bytes_out: int
    seconds: float
    energy_j: float | None


@dataclass(slots=True)
class Usage:
    """What was used since the last time it was written down."""

    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    energy_j: float | None = None

    def __bool__(self) -> bool:
        return bool(self.bytes_in or self.bytes_out or self.seconds)


class History:
    """The record in one file, ``history.sqlite`` of the device's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, one: wire.Assignment, *, now: float) -> None:
        """Write down that an assignment was taken; drop what is older than a year."""
        with self._open() as database:
            database.execute("DELETE FROM work WHERE started_at < ?", (now - KEEP_S,))
            database.execute("DELETE FROM used WHERE day < ?", (now - KEEP_S,))
            database.execute(
                "INSERT OR IGNORE INTO work (assignment, started_at, tenant, job, job_name, kind, "
                "dataset, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (one.id, now, one.tenant, one.job, one.job_name, one.kind,
                 str(one.workload.get("dataset", "")), RUNNING),
            )  # fmt: skip

    def add(self, assignment: str, used: Usage, *, now: float) -> None:
        """Add to what an assignment has used, and to what was used on this day."""
        moved = used.bytes_in + used.bytes_out
        with self._open() as database:
            database.execute(
                "UPDATE work SET bytes_in = bytes_in + ?, bytes_out = bytes_out + ?, "
                "seconds = seconds + ?, energy_j = CASE WHEN ? IS NULL THEN energy_j "
                "ELSE coalesce(energy_j, 0) + ? END WHERE assignment = ?",
                (used.bytes_in, used.bytes_out, used.seconds, used.energy_j, used.energy_j,
                 assignment),
            )  # fmt: skip
            database.execute(
                "INSERT INTO used VALUES (?, ?, ?) ON CONFLICT (day) DO UPDATE SET "
                "seconds = seconds + excluded.seconds, bytes = bytes + excluded.bytes",
                (midnight(now), used.seconds, moved),
            )

    def end(self, assignment: str, outcome: str, *, now: float) -> None:
        """Write down how an assignment ended; its first end stands."""
        with self._open() as database:
            database.execute(
                "UPDATE work SET outcome = ?, ended_at = ? WHERE assignment = ? AND outcome = ?",
                (outcome, now, assignment, RUNNING),
            )

    def interrupted(self, *, but: str | None) -> None:
        """Mark what an earlier process left running, but for the result that still waits."""
        if not self.path.exists():
            return
        with self._open() as database:
            database.execute(
                "UPDATE work SET outcome = 'interrupted' WHERE outcome = ? AND assignment IS NOT ?",
                (RUNNING, but),
            )

    def entries(self, *, limit: int = 100) -> list[Entry]:
        """Return the newest assignments, newest first."""
        if not self.path.exists():
            return []
        columns = ", ".join(Entry.__dataclass_fields__)
        with self._open() as database:
            rows = database.execute(
                f"SELECT {columns} FROM work ORDER BY started_at DESC LIMIT ?",  # nosec B608 - ours
                (limit,),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def used_since(self, start: float) -> tuple[float, int]:
        """Return seconds and bytes of the days from ``start``, a midnight, on."""
        if not self.path.exists():
            return 0.0, 0
        with self._open() as database:
            seconds, moved = database.execute(
                "SELECT coalesce(sum(seconds), 0), coalesce(sum(bytes), 0) FROM used "
                "WHERE day >= ?",
                (start,),
            ).fetchone()
        return float(seconds), int(moved)

    def try_threshold(
        self, tenant: str, job: str, digest: str, *, per_job: int, per_tenant: int,
        since: float, now: float,
    ) -> bool:  # fmt: skip
        """Count private conditions that a job asks about; tell whether it may have the answer.

        The same conditions are counted once. Those before ``since`` no longer count for the tenant;
        for the job they do for ever.
        """
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            key = tenant, job, digest
            asked = "SELECT count(*) FROM threshold WHERE tenant = ?"
            if database.execute(f"{asked} AND job = ? AND digest = ?", key).fetchone()[0]:
                return True
            of_job = database.execute(f"{asked} AND job = ?", (tenant, job)).fetchone()[0]
            of_tenant = database.execute(f"{asked} AND tried_at >= ?", (tenant, since)).fetchone()[
                0
            ]
            if of_job >= per_job or of_tenant >= per_tenant:
                return False
            database.execute("INSERT INTO threshold VALUES (?, ?, ?, ?)", (*key, now))
            return True

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            # SQLite would make it readable for others.
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        # Unlike `with database`, this commits and closes.
        database = sqlite3.connect(self.path, timeout=10.0)
        try:
            database.execute("PRAGMA synchronous = NORMAL")
            if database.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
                script = f"BEGIN IMMEDIATE; {_TABLES} {_FROM_1} PRAGMA user_version = {_VERSION};"
                database.executescript(script + " COMMIT;")
            with database:
                yield database
        finally:
            database.close()


def midnight(now: float) -> float:
    """Return when the local day of ``now`` began."""
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
