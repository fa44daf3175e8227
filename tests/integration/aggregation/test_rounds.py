"""From accepted updates to the next model version, exactly once."""

import threading

import numpy as np
import pytest
from django.db import connection

import jobs.services
from aggregation import blobs, closing, folding, services, sweeping, uploads
from aggregation.models import Batch, ModelVersion, Partial, Update
from jobs.models import Job, Round
from propius import arrays
from propius import codec as codecs
from tenants.scopes import system_scope
from tests.integration.aggregation.worlds import make_world, path_of, send, update, upload
from tests.integration.factories import NOW, later


def fold_all(round_id, now=NOW):
    while folding.fold_next(round_id=round_id, now=now):
        pass


def finish(round_id, now=NOW):
    fold_all(round_id, now)
    return closing.close_round(round_id=round_id, now=now)


def model_of(job_id):
    return arrays.load(path_of(Job.objects.get(id=job_id).parameters_digest))


def test_a_round_becomes_the_mean_weighted_by_examples(world):
    round_ = world.round()
    bound = world.bind(round_)
    for number, (assignment, device) in enumerate(bound):
        accepted = send(assignment, device, number + 1.0, weight=number + 1.0, loss=number)
        assert accepted == services.Accepted(number + 1, already=False)
    with system_scope():
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.status, round_.outcome) == ("finished", "completed")
        model = model_of(world.job.id)
        # Σ n² / Σ n for n = 1 … 6
        assert model["weight"].tolist() == [[np.float32(91) / np.float32(21)] * 2] * 2
        assert model["steps"].tolist() == [7]
        version = ModelVersion.objects.get(job=world.job, number=1)
        assert (version.reports, version.round_id) == (6, round_.id)
        # Σ n·(n − 1) / Σ n
        assert version.metrics == {"loss": pytest.approx(70 / 21)}
        assert (
            ModelVersion.objects.get(job=world.job, number=0).digest == world.job.spec["parameters"]
        )
        assert Round.objects.get(job=world.job, number=2).base_digest == version.digest
        assert not finish(round_.id)


def test_batches_are_folded_as_they_fill(world):
    round_ = world.round()
    bound = world.bind(round_)
    send(*bound[0], 1.0)
    with system_scope():
        assert not folding.fold_next(round_id=round_.id, now=NOW)
    send(*bound[1], 2.0)
    with system_scope():
        assert sweeping.rounds_waiting(now=NOW) == [round_.id]
        assert folding.fold_next(round_id=round_.id, now=NOW)
        assert not folding.fold_next(round_id=round_.id, now=NOW)
        assert sweeping.rounds_waiting(now=NOW) == []
        partial = Partial.objects.get(round=round_)
        assert (partial.number, partial.count, partial.weight) == (0, 2, 2.0)
        assert not closing.close_round(round_id=round_.id, now=NOW)


def test_a_repeat_is_accepted_again_and_counts_once(world):
    round_ = world.round()
    bound = world.bind(round_)
    assert send(*bound[0], 1.0).already is False
    assert send(*bound[0], 1.0).already is True
    assert send(*bound[0], 9.0).sequence == 1
    with system_scope():
        assert Update.objects.filter(round=round_).count() == 1
        round_.refresh_from_db()
        assert round_.reported == 1
        assert services.already_accepted(
            assignment_id=bound[0][0], device_id=bound[0][1].id, now=NOW
        )
        assert not services.already_accepted(
            assignment_id=bound[0][0], device_id=bound[1][1].id, now=NOW
        )


def test_an_update_after_the_close_is_refused_and_leaves_no_row(world):
    round_ = world.round()
    bound = world.bind(round_)
    with system_scope():
        jobs.services.cancel(job_id=world.job.id, actor="test", now=NOW)
    with pytest.raises(jobs.services.AssignmentOver):
        send(*bound[0], 1.0)
    with system_scope():
        assert not Update.objects.exists()


def test_another_devices_assignment_is_unknown(world):
    bound = world.bind(world.round())
    with system_scope(), pytest.raises(uploads.AssignmentUnknown):
        upload(bound[0][0], bound[1][1], update(1.0))


def test_an_update_with_the_servers_tensors_or_another_dtype_is_refused(world):
    assignment, device = world.bind(world.round())[0]
    whole = arrays.save({"weight": np.zeros((2, 2), np.float32), "steps": np.array([7])})
    for data in (whole, update(1.0, np.float16)):
        with system_scope(), pytest.raises(uploads.UpdateRefused) as refused:
            upload(assignment, device, data)
        assert refused.value.code == "tensor_mismatch"
    assert not list(blobs.store().incoming.iterdir())


def test_an_update_over_the_cap_is_refused_before_it_is_sent(world):
    assignment, device = world.bind(world.round())[0]
    with system_scope(), pytest.raises(uploads.UpdateRefused) as refused:
        upload(assignment, device, update(1.0), max_bytes=10)
    assert refused.value.code == "too_large"


@pytest.mark.parametrize(
    ("weight", "metrics", "field"),
    [
        (0.0, {}, "weight"),
        (float("nan"), {}, "weight"),
        (1.0, {"loss": float("inf")}, "metrics.loss"),
        (1.0, {"a\0b": 1.0}, "metrics.'a\\x00b'"),
        (1.0, {f"m{n}": 1.0 for n in range(65)}, "metrics"),
    ],
)
def test_a_report_that_cannot_be_summed_is_refused(world, weight, metrics, field):
    assignment, device = world.bind(world.round())[0]
    with system_scope():
        digest = upload(assignment, device, update(1.0))
        with pytest.raises(uploads.UpdateRefused) as refused:
            services.accept_update(
                assignment_id=assignment, device_id=device.id, digest=digest,
                size_bytes=10, weight=weight, metrics=metrics, now=NOW,
            )  # fmt: skip
    assert list(refused.value.errors) == [field]


def test_half_precision_updates_make_a_single_precision_model():
    world = make_world(codec="fp16")
    round_ = world.round()
    with system_scope():
        for assignment, device in world.bind(round_):
            data = update(0.5, np.float16)
            digest = upload(assignment, device, data)
            services.accept_update(
                assignment_id=assignment, device_id=device.id, digest=digest,
                size_bytes=len(data), weight=1.0, metrics={}, now=NOW,
            )  # fmt: skip
        assert finish(round_.id)
        assert model_of(world.job.id)["weight"].dtype == np.float32
        assert model_of(world.job.id)["weight"].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_the_bits_do_not_depend_on_which_batch_was_folded_first():
    digests = set()
    for order in ((0, 1, 2), (2, 0, 1)):
        world = make_world()
        round_ = world.round()
        for number, bound in enumerate(world.bind(round_)):
            send(*bound, 0.1 * (number + 1), weight=3.0 + number)
        with system_scope():
            batches = list(Batch.objects.filter(round=round_).order_by("number"))
            for number in order:
                folding.compute_and_commit(batches[number], now=NOW)
            assert finish(round_.id)
            digests.add(Job.objects.get(id=world.job.id).parameters_digest)
    assert len(digests) == 1


def test_a_worker_that_dies_before_its_commit_is_followed_by_another(world):
    round_ = world.round()
    for bound in world.bind(round_):
        send(*bound, 1.0)
    with system_scope():
        batch = Batch.objects.get(round=round_, number=0)
        from aggregation import claims

        assert claims.take(Batch, batch.pk, now=NOW)
        fold_all(round_.id)
        # The dead worker's claim still stands: the round waits for it, and the sweep sees it then.
        assert not closing.close_round(round_id=round_.id, now=NOW)
        assert sweeping.rounds_waiting(now=NOW) == []
        assert sweeping.rounds_waiting(now=later(61)) == [round_.id]
        assert finish(round_.id, later(61))
        assert model_of(world.job.id)["weight"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
        # It was not dead, only slow: what it commits now is dropped.
        with pytest.raises(folding.AlreadyFolded):
            folding.compute_and_commit(batch, now=later(62))
        assert Partial.objects.filter(round=round_, number=0).count() == 1


def test_a_commit_whose_updates_are_taken_rolls_back_whole(world):
    round_ = world.round()
    for bound in world.bind(round_):
        send(*bound, 1.0)
    with system_scope():
        first, second, _ = Batch.objects.filter(round=round_).order_by("number")
        partial = folding.compute_and_commit(first, now=NOW)
        Update.objects.filter(batch=second, sequence=3).update(partial=partial)
        with pytest.raises(folding.Incomplete):
            folding.compute_and_commit(second, now=NOW)
        second.refresh_from_db()
        assert second.done_at is None
        assert Partial.objects.filter(round=round_).count() == 1
        assert Update.objects.filter(batch=second, partial=None).count() == 1


def test_a_round_whose_update_is_gone_from_the_disk_fails_with_the_reason(world):
    round_ = world.round()
    for bound in world.bind(round_):
        send(*bound, 1.0)
    with system_scope():
        path_of(Update.objects.filter(round=round_).first().digest).unlink()
        for attempt in range(3):
            fold_all(round_.id, later(10 * attempt))
        round_.refresh_from_db()
        assert (round_.status, round_.outcome) == ("finished", "failed")
        assert round_.reason["code"] == "fold_failed"
        assert "is not on this machine's disk" in round_.reason["message"]
        assert Round.objects.get(job=world.job, number=1, attempt=2).status == "selecting"


@pytest.mark.parametrize("value", [3e38, -3e38, 2.0**60])
def test_one_device_with_huge_values_is_refused_and_fails_no_round(world, value):
    round_ = world.round()
    bound = world.bind(round_)
    with pytest.raises(uploads.UpdateRefused) as refused:
        send(*bound[0], value)
    assert refused.value.code == "too_large_value"
    assert "index 0; smaller ones are allowed" in refused.value.errors["tensors.weight"]
    # The largest that is taken, with the largest weight, from every device.
    for one in bound:
        send(*one, np.nextafter(np.float32(2.0**60), np.float32(0)), weight=1e6)
    with system_scope():
        assert finish(round_.id)
        assert model_of(world.job.id)["weight"][0, 0] == pytest.approx(2.0**60)


def test_a_weight_above_the_platforms_is_refused(world):
    bound = world.bind(world.round())
    with pytest.raises(uploads.UpdateRefused, match="at most 1e\\+06 is allowed"):
        send(*bound[0], 1.0, weight=1e9)


@pytest.mark.parametrize("codec", ["fp32", "bf16", "delta-int8", "topk10"])
def test_an_update_that_moves_the_model_too_far_is_refused(codec):
    world = make_world(max_update_norm=3.0, codec=codec)
    assignment, device = world.bind(world.round())[0]
    for value, is_refused in ((1.4, False), (1.6, True)):
        # The norm of (2, 2) equal elements is twice the element; top-k sends one, itself.
        whole = np.full((2, 2), value * (2 if codec == "topk10" else 1), np.float32)
        data = arrays.save(codecs.encode({"weight": whole}, codec=codec))
        with system_scope():
            if not is_refused:
                upload(assignment, device, data)
                continue
            with pytest.raises(uploads.UpdateRefused) as refused:
                upload(assignment, device, data)
        assert refused.value.code == "norm_exceeded"
        assert "is 3.2" in refused.value.errors["norm"]
        assert "at most 3 is allowed" in refused.value.errors["norm"]


def test_too_few_reports_are_never_released(world):
    round_ = world.round()
    for bound in world.bind(round_)[:4]:
        send(*bound, 1.0)
    with system_scope():
        Round.objects.filter(id=round_.id).update(status=Round.Status.AGGREGATING)
        assert finish(round_.id)
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "cohort_too_small")


def test_an_evaluation_is_a_weighted_mean_on_the_version_it_judged():
    world = make_world(evaluation__every=1, evaluation__demand=5)
    round_ = world.round()
    for bound in world.bind(round_):
        send(*bound, 1.0)
    with system_scope():
        assert finish(round_.id)
    judging = world.round(Round.Kind.EVALUATE)
    with system_scope():
        for number, (assignment, device) in enumerate(world.bind(judging)):
            metrics = {"accuracy": number / 10} | ({"rare": 1.0} if number == 0 else {})
            first = services.accept_report(
                assignment_id=assignment, device_id=device.id, weight=number + 1,
                metrics=metrics, now=NOW,
            )  # fmt: skip
            again = services.accept_report(
                assignment_id=assignment, device_id=device.id, weight=99, metrics={}, now=NOW
            )
            assert (first.already, again.already) == (False, True)
        assert finish(judging.id)
        # Σ n·(n − 1)/10 / Σ n for n = 1 … 5; one report of "rare" is not released.
        expected = {"accuracy": pytest.approx(4 / 15)}
        assert ModelVersion.objects.get(job=world.job, number=1).evaluation == expected
        judging.refresh_from_db()
        assert judging.metrics == expected
        assert Job.objects.get(id=world.job.id).version == 1


def test_an_evaluation_takes_no_upload_and_a_training_no_bare_report(world):
    assignment, device = world.bind(world.round())[0]
    with system_scope(), pytest.raises(uploads.UpdateRefused) as refused:
        services.accept_report(
            assignment_id=assignment, device_id=device.id, weight=1.0, metrics={}, now=NOW
        )
    assert refused.value.code == "wrong_kind"
    with system_scope():
        assert not Update.objects.exists()
        assert world.round().reported == 0


def test_a_changed_batch_size_does_not_mix_batches(world, monkeypatch):
    from core import knobs

    round_ = world.round()
    bound = world.bind(round_)
    for one in bound[:3]:
        send(*one, 1.0)
    monkeypatch.setenv("PROPIUS_FOLD_BATCH", "8")
    knobs.get.cache_clear()
    for one in bound[3:]:
        send(*one, 1.0)
    with system_scope():
        spans = Batch.objects.filter(round=round_).order_by("number").values_list("first", "last")
        assert list(spans) == [(1, 2), (3, 4), (5, 12)]
        assert finish(round_.id)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_version(world):
    round_ = world.round()
    bound = world.bind(round_)
    senders = [
        threading.Thread(target=in_thread, args=(send, *one, float(number)))
        for number, one in enumerate(bound)
    ]
    run(senders)

    def work():
        # As a worker does: each statement its own transaction, all tenants in view.
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE propius_system")
        finish(round_.id)

    run([threading.Thread(target=in_thread, args=(work,)) for _ in range(4)])
    with system_scope():
        finish(round_.id)
        assert Partial.objects.filter(round=round_).count() == 3
        assert sum(one.count for one in Partial.objects.filter(round=round_)) == 6
        assert ModelVersion.objects.filter(job=world.job).count() == 2
        assert model_of(world.job.id)["weight"].tolist() == [[2.5, 2.5], [2.5, 2.5]]
        assert Round.objects.filter(job=world.job).count() == 2


@pytest.mark.django_db(transaction=True)
def test_one_update_sent_over_two_connections_counts_once(world):
    round_ = world.round()
    assignment, device = world.bind(round_)[0]
    data = update(1.0)
    with system_scope():
        digest = upload(assignment, device, data)
    answers = []

    def accept():
        with system_scope():
            accepted = services.accept_update(
                assignment_id=assignment, device_id=device.id, digest=digest,
                size_bytes=len(data), weight=1.0, metrics={}, now=NOW,
            )  # fmt: skip
        answers.append(accepted)

    run([threading.Thread(target=in_thread, args=(accept,)) for _ in range(4)])
    assert sorted(one.already for one in answers) == [False, True, True, True]
    assert {one.sequence for one in answers} == {1}


def in_thread(work, *args):
    try:
        work(*args)
    finally:
        connection.close()


def run(threads):
    for one in threads:
        one.start()
    for one in threads:
        one.join()
