"""Backups: the rows of one moment and every blob that they name, in one folder.

``FOLDER/<moment>/`` holds the dump and a manifest; ``FOLDER/blobs/`` the blobs of all backups
there: they are named by their digest and never change, so each is copied once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from aggregation import blobs
from aggregation.models import Blob
from core import advisory, connections
from jobs import services as job_services
from propius_site import postgres_tools, preparing
from tenants.models import Tenant

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"

Say = Callable[[str], None]


class BackupUnusable(RuntimeError):
    """The folder holds no whole backup, or not one that this version can read."""


class NotEmpty(RuntimeError):
    """There is a platform here already; a restore would mix the two."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of."""

    format: int
    taken_at: str
    tenants: int
    migrations: int
    blobs: dict[str, int]
    """Size in bytes by digest."""


def take(folder: Path, *, now: datetime, say: Say) -> Path:
    """Copy rows and blobs into ``folder``; returns the new backup's own folder.

    The platform goes on meanwhile; only the deletion of blobs waits. Raises ToolFailed, and
    BlobMissing if a blob that a row names is gone.
    """
    target = folder / now.strftime("%Y-%m-%dT%H-%M-%SZ")
    partial = target.with_suffix(".partial")
    partial.mkdir(parents=True, mode=0o700)
    with advisory.shared(advisory.COLLECTION), _snapshot() as snapshot:
        postgres_tools.dump(partial / DUMP, snapshot=snapshot)
        named = dict(Blob.objects.values_list("digest", "size_bytes"))
        say(f"rows of {Tenant.objects.count()} tenants; {len(named)} blobs")
        kept = blobs.BlobStore(folder / "blobs")
        copied = sum(_copy(blobs.store(), kept, digest) for digest in named)
        manifest = Manifest(
            format=FORMAT,
            taken_at=now.isoformat(),
            tenants=Tenant.objects.count(),
            migrations=MigrationRecorder.Migration.objects.count(),
            blobs=named,
        )
    (partial / MANIFEST).write_text(json.dumps(asdict(manifest)))
    _sync(partial / MANIFEST, partial / DUMP)
    # Complete or absent: what was cut short keeps its other name.
    partial.rename(target)
    say(f"{copied} blobs copied, {len(named) - copied} were there from earlier backups")
    return target


def read(source: Path) -> Manifest:
    """Return what a backup is of. Raises BackupUnusable."""
    try:
        manifest = Manifest(**json.loads((source / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupUnusable(f"{source} is no whole backup: {error}") from None
    if manifest.format != FORMAT:
        raise BackupUnusable(f"{source} has format {manifest.format}; this version reads {FORMAT}")
    kept = blobs.BlobStore(source.parent / "blobs")
    missing = [digest for digest in manifest.blobs if not _holds(kept, digest)]
    if missing:
        raise BackupUnusable(
            f"{kept.root} lacks {len(missing)} blobs of this backup, "
            f"as {missing[0]}: copy that folder whole"
        )
    return manifest


def restore(source: Path, *, now: datetime, say: Say) -> Manifest:
    """Bring an empty platform to what was backed up, so that its jobs go on.

    Each blob is hashed on its way. Raises BackupUnusable, NotEmpty, ToolFailed.
    """
    manifest = read(source)
    _require_empty()
    kept, store = blobs.BlobStore(source.parent / "blobs"), blobs.store()
    for digest in manifest.blobs:
        _copy(kept, store, digest)
    say(f"{len(manifest.blobs)} blobs are whole")
    _drop_tables()
    postgres_tools.restore(source / DUMP)
    preparing.migrate(say)
    away = now - datetime.fromisoformat(manifest.taken_at)
    moved = job_services.shift_open(by=away)
    say(f"{manifest.tenants} tenants; the clocks of {moved} open rounds moved by {away}")
    _forget_soft_state()
    return manifest


@contextmanager
def _snapshot() -> Iterator[str]:
    """One view of all rows, for our own queries and for pg_dump."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT pg_export_snapshot()")
        yield str(cursor.fetchone()[0])


def _require_empty() -> None:
    if "tenants_tenant" in connection.introspection.table_names():
        found = Tenant.objects.count()
        if found:
            raise NotEmpty(
                f"this platform has {found} tenants: restore into an empty database "
                "(`manage.py forget` deletes an embedded one)"
            )


def _drop_tables() -> None:
    """Remove what `prepare` made: the dump brings its own tables."""
    with transaction.atomic(), connection.cursor() as cursor:
        for info in connection.introspection.get_table_list(cursor):
            word = "VIEW" if info.type == "v" else "TABLE"
            name = connection.ops.quote_name(info.name)
            cursor.execute(f"DROP {word} IF EXISTS {name} CASCADE")


def _copy(source: blobs.BlobStore, target: blobs.BlobStore, digest: str) -> bool:
    """Copy and hash one blob; False if it is there. Raises BackupUnusable, BlobMissing."""
    if _holds(target, digest):
        return False
    with target.writer() as writer:
        for chunk in blobs.read_chunks(source.path(digest)):
            writer.write(chunk)
        if writer.commit() != digest:
            raise BackupUnusable(f"{source.path(digest)} has rotted: its bytes have another digest")
    return True


def _holds(store: blobs.BlobStore, digest: str) -> bool:
    try:
        store.path(digest)
    except blobs.BlobMissing:
        return False
    return True


def _forget_soft_state() -> None:
    """Let the planner rebuild all that Redis knows: it knows another past."""
    client = connections.soft_state()
    for key in client.scan_iter(match=connections.PREFIX + "*", count=1000):
        client.unlink(key)


def _sync(*paths: Path) -> None:
    for path in (*paths, paths[0].parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
