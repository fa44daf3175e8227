"""Bytes that change on the disk are noticed: as they are folded, and by the slow re-reading."""

import sys

import numpy as np
import pytest

from aggregation import (
    artifacts,
    blobs,
    chunk_sums,
    claims,
    closing,
    folding,
    metrics,
    scrubbing,
)
from aggregation import rot as rot_module
from aggregation.models import Batch, Closing, ModelVersion, Partial, Update
from core import knobs
from core.ids import uuid7
from core.models import Event
from jobs import services as job_services
from jobs.models import Assignment, Round
from jobs.services import Binding
from propius import arrays
from tenants.scopes import scope, system_scope
from tests.integration.aggregation.test_rounds import finish, fold_all, model_of
from tests.integration.aggregation.worlds import BASE, make_world, path_of, send
from tests.integration.factories import NOW, later

PLACE = -1


def rot(digest):
    """Change a byte, as a disk does: the name and the size stay."""
    path = path_of(digest)
    data = bytearray(path.read_bytes())
    data[PLACE] ^= 1
    path.write_bytes(data)


def lose(digest):
    """Let reading a blob fail, as a disk does that has lost a sector (EIO)."""
    path = path_of(digest)
    path.unlink()
    path.symlink_to("/proc/self/mem")


def read_all(path):
    from aggregation.tensor_files import MappedTensors

    with MappedTensors(path) as file:
        for name in file.header:
            file.release(name)
        file.check_rest()


def rotted(round_, *sequences):
    """Rot the updates of these sequence numbers; returns them."""
    found = list(Update.objects.filter(round=round_, sequence__in=sequences).order_by("sequence"))
    for one in found:
        rot(one.digest)
    return found


def value_of(sequence):
    """What the device of this number sends: no sum of two is another's, for equal bytes heal."""
    return sequence + 0.25


def mean_of(sequences):
    return np.float32(sum(map(value_of, sequences))) / np.float32(len(sequences))


def deliver(world):
    """Fill a round."""
    round_ = world.round()
    for number, one in enumerate(world.bind(round_), 1):
        send(*one, value_of(number))
    return round_


@pytest.mark.parametrize("sequences", [(3,), (3, 4)], ids=["one", "a_whole_batch"])
@pytest.mark.parametrize("place", [-1, 9], ids=["tensors", "header"])
def test_a_round_goes_on_without_its_rotten_updates_and_says_so(sequences, place, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PLACE", place)
    world = make_world(rounds__demand=8, rounds__quorum=0.5)
    round_ = deliver(world)
    with system_scope():
        bad = rotted(round_, *sequences)
        assert finish(round_.id)
        round_.refresh_from_db()
        left = [number for number in range(1, 9) if number not in sequences]
        assert (round_.outcome, round_.reported, round_.lost) == ("completed", len(left), len(bad))
        assert model_of(world.job.id)["weight"][0, 0] == mean_of(left)
        assert round_.reason["count"] == len(bad)
        assert "whose bytes had changed on the disk" in round_.reason["message"]
        for one in bad:
            assert str(one.assignment_id) in round_.reason["message"]
            row = Assignment.objects.get(id=one.assignment_id)
            assert (row.status, row.code) == ("failed", "update_rotted")
            one.refresh_from_db()
            assert (one.partial, one.set_aside_at) == (None, NOW)
            with pytest.raises(blobs.BlobRotted):
                path_of(one.digest)
        kinds = Event.objects.filter(job_id=world.job.id).values_list("kind", flat=True)
        assert {"round.updates_set_aside", "assignment.failed"} <= set(kinds)
        assert Event.objects.filter(kind="blob.rotted").count() == len(bad)
        assert Round.objects.get(job=world.job, number=2).status == "selecting"


def test_a_round_of_which_too_few_are_left_fails_in_words_and_the_next_attempt_opens(world):
    round_ = deliver(world)
    with system_scope():
        rotted(round_, 2, 5)
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "cohort_too_small")
        assert round_.reason["message"] == (
            "4 reports, 2 more set aside since their bytes had changed on the disk;"
            " a result is released over at least 5"
        )
        assert Round.objects.get(job=world.job, number=1, attempt=2).status == "selecting"


def test_the_jobs_own_quorum_holds_too():
    world = make_world(rounds__demand=8, rounds__quorum=1.0)
    round_ = deliver(world)
    with system_scope():
        rotted(round_, 8)
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "too_few_reports")
        assert round_.reason["message"].endswith("disk; at least 8 needed")


def test_an_open_round_asks_for_another_device_in_the_place_of_a_rotten_update(world):
    round_ = world.round()
    bound = world.bind(round_)
    for number, one in enumerate(bound[:4], 1):
        send(*one, value_of(number))
    with system_scope():
        rotted(round_, 2)
        fold_all(round_.id)
        round_.refresh_from_db()
        assert (round_.reported, round_.assigned, round_.target) == (3, 5, 6)
        figures = {one.name: one.samples[0].value for one in metrics.collect()}
        assert figures["propius_updates_waiting"] == 0
        spare = Binding(uuid7(), round_.id, world.devices[7].id, 1)
        assert job_services.assign(bindings=[spare], now=NOW) == {spare.assignment_id: "assigned"}
    for number, one in enumerate([*bound[4:], (spare.assignment_id, world.devices[7])], 5):
        send(*one, value_of(number))
    with system_scope():
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reported) == ("completed", 6)
        numbers = Update.objects.filter(round=round_, set_aside_at=None)
        assert sorted(numbers.values_list("sequence", flat=True)) == [1, 3, 4, 5, 6, 7]
        assert model_of(world.job.id)["weight"][0, 0] == mean_of([1, 3, 4, 5, 6, 7])


def test_a_strategy_that_reads_all_at_the_close_folds_its_batch_again():
    world = make_world(strategy={"name": "median"})
    round_ = deliver(world)
    with system_scope():
        fold_all(round_.id)
        rotted(round_, 1)  # after its norm was measured, which finds it in so small a file
        assert Partial.objects.filter(round=round_).count() == 3
        assert closing.close_round(round_id=round_.id, now=NOW)
        assert Batch.objects.get(round=round_, done_at=None).number == 0
        assert finish(round_.id)
        round_.refresh_from_db()
        assert round_.outcome == "completed"
        assert model_of(world.job.id)["weight"][0, 0] == value_of(4)  # of 2 to 6
        counts = Partial.objects.filter(round=round_).order_by("number")
        assert list(counts.values_list("count", flat=True)) == [1, 2, 2]


@pytest.mark.parametrize("harm", [rot, lose])
def test_a_rotten_partial_is_folded_again_from_its_updates_to_the_same_bits(world, harm):
    round_ = deliver(world)
    with system_scope():
        fold_all(round_.id)
        partial = Partial.objects.get(round=round_, number=1)
        harm(partial.digest)
        assert closing.close_round(round_id=round_.id, now=NOW)
        assert Batch.objects.get(round=round_, done_at=None).number == 1
        told = Event.objects.get(kind="round.partial_folded_again")
        assert (told.round_id, told.data) == (round_.id, {"number": 1, "count": 2})
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reported, round_.reason) == ("completed", 6, {})
        assert Partial.objects.get(round=round_, number=1).digest == partial.digest
        assert Update.objects.filter(round=round_, partial=None).count() == 0
        assert model_of(world.job.id)["weight"][0, 0] == mean_of(range(1, 7))


def test_a_rotten_partial_whose_updates_are_gone_fails_the_round_in_words(world):
    round_ = deliver(world)
    with system_scope():
        fold_all(round_.id)
        partial = Partial.objects.get(round=round_, number=1)
        rot(partial.digest)
        blobs.store().delete(partial.updates.first().digest, grace_s=-1)
        for attempt in range(3):
            assert closing.close_round(round_id=round_.id, now=later(10 * attempt))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "close_failed")
        assert f"blob {partial.digest} has changed on the disk" in round_.reason["message"]


@pytest.mark.parametrize("which", ["digest", "state_digest"], ids=["base", "state"])
def test_a_rotten_base_or_state_makes_no_version(which):
    world = make_world(strategy={"name": "fedavgm"})
    round_ = deliver(world)
    with system_scope():
        assert finish(round_.id)
        first = ModelVersion.objects.get(job=world.job, number=1)
    round_ = deliver(world)
    with system_scope():
        rot(getattr(first, which))
        fold_all(round_.id)
        for attempt in range(3):
            assert closing.close_round(round_id=round_.id, now=later(10 * attempt))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "close_failed")
        assert getattr(first, which) in round_.reason["message"]
        assert not ModelVersion.objects.filter(job=world.job, number=2).exists()


def test_changes_are_not_taken_of_a_rotten_base():
    world = make_world(
        strategy={"name": "fedbuff", "buffer_size": 6}, rounds__demand=6, rounds__count=2
    )
    round_ = deliver(world)
    with system_scope():
        rot(round_.base_digest)
        for attempt in range(3):
            folding.fold_next(round_id=round_.id, now=later(10 * attempt))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "fold_failed")
        assert f"blob {round_.base_digest} has changed on the disk" in round_.reason["message"]


def test_an_update_that_cannot_be_read_is_rotten():
    world = make_world(rounds__demand=8, rounds__quorum=0.5)
    round_ = deliver(world)
    with system_scope():
        lose(Update.objects.get(round=round_, sequence=3).digest)
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reported, round_.lost) == ("completed", 7, 1)


def test_bytes_that_end_every_worker_which_maps_them_are_set_aside_before_the_round_fails():
    world = make_world(rounds__demand=8, rounds__quorum=0.5)
    round_ = deliver(world)
    died = {"token": uuid7(), "failures": claims.ATTEMPTS - 1, "claimed_until": NOW}
    with system_scope():
        lose(Update.objects.get(round=round_, sequence=3).digest)
        Batch.objects.filter(round=round_, number=1).update(**died)
        fold_all(round_.id)
        rot(Partial.objects.get(round=round_, number=0).digest)
        Closing.objects.create(round=round_, tenant_id=round_.tenant_id, **died)
        assert closing.close_round(round_id=round_.id, now=NOW)
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reported, round_.lost) == ("completed", 7, 1)


def test_what_was_folded_while_it_was_whole_counts(world):
    round_ = deliver(world)
    with system_scope():
        seen_before = Batch.objects.get(round=round_, number=0)
        fold_all(round_.id)
        rotted(round_, 1)
        assert rot_module.set_aside(seen_before, now=NOW) == 0
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reported, round_.reason) == ("completed", 6, {})


def test_an_update_that_is_set_aside_between_the_fold_and_its_commit_rolls_it_back(world):
    round_ = deliver(world)
    with system_scope():
        Update.objects.filter(round=round_, sequence=1).update(set_aside_at=NOW)
        batch = Batch.objects.get(round=round_, number=0)
        every = list(batch.updates.order_by("sequence"))
        partial = Partial(
            tenant_id=batch.tenant_id, round=round_, number=0, digest="a" * 64, size_bytes=1,
            count=2, weight=2.0, created_at=NOW,
        )  # fmt: skip
        with pytest.raises(folding.Incomplete):
            folding._commit(batch, partial, every, NOW)
        assert not Partial.objects.filter(round=round_).exists()


def test_what_was_set_aside_goes_with_its_blob():
    with blobs.store().writer() as writer:
        writer.write(b"some bytes")
        digest = writer.commit()
    folder = path_of(digest).parent
    assert blobs.store().set_aside(digest)
    assert not blobs.store().set_aside(digest)
    assert [one.suffix for one in folder.iterdir() if one.suffix != ".xxh3"] == [".rotted"]
    assert blobs.store().delete(digest, grace_s=0)
    assert not list(folder.iterdir())


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


def test_the_slow_reading_goes_on_after_a_blob_that_cannot_be_read(world, redis, monkeypatch):
    monkeypatch.setenv("PROPIUS_SCRUB_BYTES", "1")
    knobs.get.cache_clear()
    digest = world.job.spec["parameters"]
    with system_scope():
        lose(digest)
        there = len(list(blobs.store().digests()))
        assert sum(scrubbing.scrub(now=NOW) for _ in range(there + 1)) == 1
        with pytest.raises(blobs.BlobRotted, match=digest):
            path_of(digest)


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
