"""Files by digest: durable, never half there, deleted only when nobody can still name them."""

import errno
import hashlib
import os
import resource
import signal
import threading

import pytest

from aggregation import blobs
from aggregation.chunk_sums import ChunkSums

DATA = b"tensor" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    return blobs.BlobStore(tmp_path / "blobs")


def put(store, data=DATA):
    with store.writer() as writer:
        writer.write(data)
        return writer.commit()


def test_it_keeps_bytes_under_their_digest(store):
    assert put(store) == DIGEST
    path = store.path(DIGEST)
    assert path.relative_to(store.root).parts == (DIGEST[:2], DIGEST[2:4], DIGEST)
    assert b"".join(blobs.read_chunks(path)) == DATA
    assert list(store.digests()) == [DIGEST]
    assert list(store.incoming.iterdir()) == []


def test_it_keeps_nothing_of_a_writer_that_was_not_committed(store):
    with store.writer() as writer:
        writer.write(DATA)
    assert list(store.digests()) == []
    assert list(store.incoming.iterdir()) == []


def test_it_refuses_more_than_the_limit(store):
    with store.writer(limit=10) as writer:
        writer.write(b"0123456789")
        with pytest.raises(blobs.BlobTooLarge, match="at most 10"):
            writer.write(b"!")


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", DIGEST.upper(), DIGEST[:-1], "f" * 64])
def test_it_knows_no_other_digests(store, digest):
    put(store)
    with pytest.raises(blobs.BlobMissing):
        store.path(digest)


def test_it_says_that_the_disk_is_full(store, tmp_path):
    with pytest.raises(blobs.StorageFull, match="disk is full"), blobs.refusing_when_full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(PermissionError), blobs.refusing_when_full():
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_write_to_a_full_device_is_refused(store):
    with store.writer() as writer:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._file.fileno())
        os.close(full)
        with pytest.raises(blobs.StorageFull):
            writer.write(DATA)


def test_it_does_not_delete_what_came_within_the_grace(store):
    put(store)
    assert not store.delete(DIGEST, grace_s=60)
    os.utime(store.path(DIGEST), (1, 1))
    assert store.delete(DIGEST, grace_s=60)
    assert store.delete(DIGEST, grace_s=60)


def test_bytes_that_come_again_are_young_again(store):
    put(store)
    os.utime(store.path(DIGEST), (1, 1))
    put(store)
    assert not store.delete(DIGEST, grace_s=60)
    assert store.path(DIGEST).read_bytes() == DATA


def test_a_delete_that_races_a_re_upload_never_leaves_the_new_bytes_missing(store):
    for _ in range(50):
        put(store)
        os.utime(store.path(DIGEST), (1, 1))
        racing = threading.Thread(target=store.delete, args=(DIGEST,), kwargs={"grace_s": 60})
        racing.start()
        put(store)
        racing.join()
        assert store.path(DIGEST).read_bytes() == DATA


def test_it_clears_what_was_begun_long_ago(store):
    old, new = store.incoming / "old.part", store.incoming / "new.part"
    old.touch(), new.touch()
    os.utime(old, (1, 1))
    assert store.clear_incoming(older_s=86_400) == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_a_full_disk_leaves_no_draft_of_sums(tmp_path):
    sums = ChunkSums()
    sums.update(b"some bytes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            sums.save(tmp_path / "blob")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())
