"""Bytes that change on the disk are noticed: as they are folded, and by the slow re-reading."""

import numpy as np
import pytest

from aggregation import artifacts, blobs, chunk_sums, claims, folding, scrubbing
from aggregation.models import Batch, Update
from core import knobs
from core.models import Event
from propius import arrays
from tenants.scopes import scope, system_scope
from tests.integration.aggregation.worlds import BASE, path_of, send
from tests.integration.factories import NOW, later


def rot(digest):
    """Change the last byte, as a disk does: the name and the size stay."""
    path = path_of(digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def read_all(path):
    from aggregation.tensor_files import MappedTensors

    with MappedTensors(path) as file:
        for name in file.header:
            file.release(name)
        file.check_rest()


def test_a_rotten_update_fails_its_round_in_words_and_the_good_ones_are_kept(world):
    round_ = world.round()
    for number, one in enumerate(world.bind(round_)[:2]):
        send(*one, number + 1.0)
    with system_scope():
        good, bad = Update.objects.filter(round=round_).order_by("sequence")
        rot(bad.digest)
        for attempt in range(claims.ATTEMPTS):
            assert folding.fold_next(round_id=round_.id, now=later(10 * attempt))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "fold_failed")
        assert f"blob {bad.digest} has changed on the disk" in round_.reason["message"]
        assert Batch.objects.get(round=round_).done_at is None
        assert path_of(good.digest).is_file()


def test_every_chunk_of_a_large_file_is_compared():
    tensors = {"a": np.ones(700_000, np.float32), "b": np.ones(3, np.float32)}
    data = arrays.save(tensors)
    with blobs.store().writer() as writer:
        writer.write(data)
        digest = writer.commit()
    path = blobs.store().path(digest)
    assert len(chunk_sums.read(path, len(data))) == 3
    for place in (9, (1 << 20) + 5, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        # The first of them is in the header, which no longer parses.
        with pytest.raises(ValueError if place == 9 else blobs.BlobRotted):
            read_all(path)
    path.write_bytes(data)
    chunk_sums.beside(path).write_bytes(b"torn")
    read_all(path)  # sums that a crash has torn accuse nobody


def test_the_slow_reading_sets_rotten_blobs_aside_and_an_upload_heals_them(
    world, redis, monkeypatch
):
    monkeypatch.setenv("PROPIUS_SCRUB_BYTES", "1")
    knobs.get.cache_clear()
    digest = world.job.spec["parameters"]
    with system_scope():
        assert scrubbing.scrub(now=NOW) == 0
        rot(digest)
        blobs_there = len(list(blobs.store().digests()))
        # One at a time at this budget; the round trip ends by itself.
        assert sum(scrubbing.scrub(now=NOW) for _ in range(blobs_there + 1)) == 1
        with pytest.raises(blobs.BlobRotted, match=digest):
            blobs.store().path(digest)
        told = Event.objects.get(kind="blob.rotted")
        assert (told.tenant_id, told.data) == (world.tenant.id, {"digest": digest})
        assert scrubbing.scrub(now=NOW) == 0
    with scope(world.tenant.id):
        stored = artifacts.store_parameters(
            tenant_id=world.tenant.id, stream=[arrays.save(BASE)], now=NOW
        )
    assert stored.digest == digest
    assert path_of(digest).is_file()
