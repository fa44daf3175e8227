"""What stops a backup or a restore, in words; the whole path is in tests/e2e/test_backup.py."""

import threading

import pytest
from django.db import connection

from aggregation.blobs import BlobMissing, BlobStore
from core import advisory
from propius_site import backups, postgres_tools


def test_a_blob_that_has_rotted_is_named(tmp_path):
    kept, store = BlobStore(tmp_path / "kept"), BlobStore(tmp_path / "store")
    with kept.writer() as writer:
        writer.write(b"weights")
        digest = writer.commit()
    kept.path(digest).write_bytes(b"weighty")
    with pytest.raises(backups.BackupUnusable, match=f"{digest} has rotted"):
        backups._copy(kept, store, digest)
    with pytest.raises(BlobMissing):
        store.path(digest)


def test_a_missing_tool_is_named_with_the_fix(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://owner@db/propius")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(postgres_tools.ToolFailed, match="pg_dump is not installed"):
        postgres_tools.dump(tmp_path / "x", snapshot="1-1")


@pytest.mark.django_db(transaction=True)
def test_nothing_is_collected_while_a_backup_copies():
    held = []

    def try_alone():
        with advisory.alone_or_not(advisory.COLLECTION) as mine:
            held.append(mine)
        connection.close()

    def elsewhere():
        thread = threading.Thread(target=try_alone)
        thread.start()
        thread.join()

    with advisory.shared(advisory.COLLECTION):
        elsewhere()
    elsewhere()
    assert held == [False, True]
