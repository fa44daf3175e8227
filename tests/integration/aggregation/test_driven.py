"""A driven job: its program starts the rounds, and gets sums over enough reports."""

from datetime import timedelta

import numpy as np
import pytest

import jobs.services
from aggregation import artifacts, closing, driven, folding, ownership, selectors
from aggregation.models import Blob, RoundSum
from core.errors import PropiusError
from jobs import selectors as job_selectors
from jobs.models import Artifact, Job, Round
from propius import arrays, spec
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.aggregation.worlds import BASE, World, make_world, path_of, send
from tests.integration.factories import NOW


@pytest.fixture
def world():
    return make_world(driven=True, retention__versions=1)


def given(value):
    return BASE | {"weight": np.full((2, 2), value, np.float32)}


def upload(world, tensors):
    with scope(world.tenant.id):
        stored = driven.store_parameters(
            job_id=world.job.id, stream=[arrays.save(tensors)], now=NOW
        )
    return stored.digest


def start(world, number, value, demand=6):
    digest = upload(world, given(value))
    with scope(world.tenant.id):
        return jobs.services.start_round(
            job_id=world.job.id, number=number, parameters=digest, demand=demand, actor="me",
            now=NOW,
        )[0]  # fmt: skip


def refusal(code, call, **arguments):
    with pytest.raises(PropiusError) as caught:
        call(**arguments)
    assert caught.value.code == code
    return str(caught.value)


def finish(round_, now=NOW):
    with system_scope():
        while folding.fold_next(round_id=round_.id, now=now):
            pass
        assert closing.close_round(round_id=round_.id, now=now)
        round_.refresh_from_db()


def run_round(world, number, value, reports=6):
    round_ = start(world, number, value)
    for place, (assignment, device) in enumerate(world.bind(round_)[:reports]):
        send(assignment, device, value + place, weight=place + 1.0, loss=float(place))
    finish(round_)
    return round_


def test_a_round_begins_from_the_drivers_parameters_and_ends_with_the_weighted_sum(world):
    with system_scope():
        waiting = job_selectors.waiting(world.job)
        assert waiting.code == "waiting_for_driver"
        assert "start round 1" in waiting.message
        assert not Round.objects.filter(job=world.job).exists()
    round_ = run_round(world, 1, 10.0)
    with scope(world.tenant.id):
        found = driven.sum_of(job_id=world.job.id, number=1)
        # Σ w = 21, Σ w·(10 + p) with w = p + 1 for p = 0 … 5
        assert (found.count, found.weight) == (6, 21.0)
        assert found.metrics == {"loss": pytest.approx(70 / 21)}
        total = arrays.load(driven.download(job_id=world.job.id, number=1).path)
        assert total["weight"].tolist() == [[280.0] * 2] * 2
        assert list(total) == ["weight"]
        assert arrays.load(path_of(round_.base_digest))["weight"][0, 0] == 10.0
        job = Job.objects.get(id=world.job.id)
        assert job.status == Job.Status.RUNNING
        assert job_selectors.waiting(job).numbers == {"round": 2}


def test_older_sums_go_with_retention_and_their_blobs_and_parameters_with_collection(world):
    first = run_round(world, 1, 1.0)
    second = run_round(world, 2, 2.0)
    with system_scope():
        refused = refusal("version_released", driven.download, job_id=world.job.id, number=1)
        assert "round 1" in refused
        assert driven.sum_of(job_id=world.job.id, number=1).count == 6
        ownership.collect(now=NOW)
        # Its rounds have started: the parameters need no artifact of their own any more.
        kept = set(Artifact.objects.values_list("digest", flat=True))
        assert kept == {world.job.spec["parameters"]}
        marked = set(Blob.objects.filter(marked_at=NOW).values_list("digest", flat=True))
        sums = dict(RoundSum.objects.values_list("round__number", "digest"))
        assert {first.base_digest, sums[1]} <= marked
        assert not marked & {second.base_digest, sums[2]}


def test_the_same_start_again_is_the_same_round(world):
    digest = upload(world, given(1.0))
    call = {
        "job_id": world.job.id, "number": 1, "parameters": digest, "demand": 6, "actor": "me",
        "now": NOW,
    }  # fmt: skip
    with scope(world.tenant.id):
        first, created = jobs.services.start_round(**call)
        again, created_again = jobs.services.start_round(**call)
        assert (created, created_again, first.id) == (True, False, again.id)
        text = refusal("wrong_number", jobs.services.start_round, **call | {"demand": 5})
        assert "the next one is 2" in text
        refusal("round_under_way", jobs.services.start_round, **call | {"number": 2})
    assert world.bind(first)


def test_the_same_start_again_is_the_same_round_of_a_job_that_was_admitted_in_part():
    world = make_world(driven=True, rounds__demand=8, rounds__min_demand=5)
    call = {
        "job_id": world.job.id, "number": 1, "parameters": upload(world, given(1.0)),
        "demand": None, "actor": "me", "now": NOW,
    }  # fmt: skip
    with system_scope():
        jobs.services.grant_demand(job_id=world.job.id, demand=6, now=NOW)
        first, _ = jobs.services.start_round(**call)
        assert first.demand == 6
        for granted in (6, 5, None):
            jobs.services.grant_demand(job_id=world.job.id, demand=granted, now=NOW)
            again, created = jobs.services.start_round(**call)
            assert (again.id, created) == (first.id, False)
        refusal("wrong_number", jobs.services.start_round, **call | {"demand": 5})
        refusal("wrong_number", jobs.services.start_round, **call | {"parameters": "f" * 64})


def test_two_jobs_of_a_tenant_each_start_from_the_same_upload(world):
    with system_scope():
        other = jobs.services.submit(
            tenant_id=world.tenant.id, submitted_by="me", now=NOW,
            raw=factories.spec(parameters=world.job.spec["parameters"], driven=True),
        )  # fmt: skip
        jobs.services.admit(job_id=other.id, numbers={}, now=NOW)
    both = [world, World(world.tenant, other, world.devices)]
    digests = {upload(one, given(1.0)) for one in both}
    start_one = {
        "number": 1, "parameters": digests.pop(), "demand": 6, "actor": "me", "now": NOW,
    }  # fmt: skip
    with system_scope():
        for one in both:
            _, created = jobs.services.start_round(job_id=one.job.id, **start_one)
            assert created
            ownership.collect(now=NOW)
        assert not Artifact.objects.filter(kind=Artifact.Kind.ROUND).exists()


def test_what_cannot_start_is_told_why(world):
    plain = make_world()
    digest = upload(world, given(1.0))
    call = {
        "job_id": world.job.id, "number": 1, "parameters": digest, "demand": 6, "actor": "me",
        "now": NOW,
    }  # fmt: skip
    started = jobs.services.start_round
    with system_scope():
        refusal("not_driven", started, **call | {"job_id": plain.job.id})
        refusal("wrong_number", started, **call | {"number": 2})
        assert "5 (the least cohort) to 6" in refusal("bad_demand", started, **call | {"demand": 4})
        refusal("bad_demand", started, **call | {"demand": 7})
        refusal("artifact_unknown", started, **call | {"parameters": "f" * 64})
        refusal("job_unknown", started, **call | {"job_id": world.tenant.id})
    bad = {"weight": np.zeros((3, 2), np.float32)}
    with pytest.raises(jobs.services.ParametersMismatch) as caught:
        upload(world, bad)
    assert set(caught.value.errors) == {"parameters.steps", "parameters.weight"}
    with system_scope():
        jobs.services.finish(job_id=world.job.id, actor="me", now=NOW)
        refusal("wrong_state", started, **call)


def test_too_few_reports_end_the_round_and_not_the_job(world):
    round_ = start(world, 1, 1.0)
    assignment, device = world.bind(round_)[0]
    send(assignment, device, 1.0)
    late = NOW + timedelta(seconds=30)
    with system_scope():
        for _ in range(2):  # the second deadline, after the extension
            jobs.services.sweep(now=late)
            late += timedelta(seconds=60)
        round_.refresh_from_db()
        assert (round_.status, round_.outcome) == ("finished", "failed")
        assert Job.objects.get(id=world.job.id).status == Job.Status.RUNNING
        text = refusal("sum_unknown", driven.sum_of, job_id=world.job.id, number=1)
        assert "1 of 6 devices reported" in text
    assert start(world, 2, 1.0).number == 2


def test_a_sum_is_refused_until_it_is_there(world):
    start(world, 1, 1.0)
    with scope(world.tenant.id):
        text = refusal("sum_unknown", driven.sum_of, job_id=world.job.id, number=1)
        assert "selecting" in text
        refusal("sum_unknown", driven.sum_of, job_id=world.job.id, number=2)


def test_finish_ends_a_driven_job_once_and_no_other(world):
    with scope(world.tenant.id):
        job = jobs.services.finish(job_id=world.job.id, actor="me", now=NOW)
        assert (job.status, job.outcome) == ("finished", "completed")
        assert jobs.services.finish(job_id=world.job.id, actor="me", now=NOW).id == job.id
    other, plain = make_world(driven=True), make_world()
    with system_scope():
        refusal("not_driven", jobs.services.finish, job_id=plain.job.id, actor="me", now=NOW)
        jobs.services.cancel(job_id=other.job.id, actor="me", now=NOW)
        refusal("wrong_state", jobs.services.finish, job_id=other.job.id, actor="me", now=NOW)


def test_parameters_that_no_round_took_are_forgotten_after_a_day(world):
    upload(world, given(5.0))
    with system_scope():
        ownership.collect(now=NOW + timedelta(hours=23))
        assert Artifact.objects.filter(kind=Artifact.Kind.ROUND).count() == 1
        ownership.collect(now=NOW + timedelta(hours=25))
        assert not Artifact.objects.filter(kind=Artifact.Kind.ROUND).exists()


def test_an_upload_that_comes_again_is_kept_for_another_day(world):
    digest = upload(world, given(5.0))
    with scope(world.tenant.id):
        driven.store_parameters(
            job_id=world.job.id, stream=[arrays.save(given(5.0))], now=NOW + timedelta(hours=20)
        )
    with system_scope():
        ownership.collect(now=NOW + timedelta(hours=25))
        assert Artifact.objects.filter(digest=digest).count() == 1


def test_a_driven_job_has_no_strategy_noise_or_evaluations():
    raw = factories.spec(
        driven=True, strategy={"name": "fedadam"}, evaluation={"every": 1, "demand": 6},
        privacy={"noise_multiplier": 1.0, "clip": {"kind": "fixed", "norm": 1.0}},
    )  # fmt: skip
    with pytest.raises(spec.SpecError) as caught:
        spec.parse(raw)
    assert {"strategy.name", "evaluation.every"} <= set(caught.value.errors)


def test_artifacts_of_rounds_are_no_parameters_for_another_job(world):
    digest = upload(world, given(3.0))
    with system_scope():
        refusal(
            "unknown_artifact", jobs.services.submit, tenant_id=world.tenant.id,
            raw=factories.spec(parameters=digest), submitted_by="me", now=NOW,
        )  # fmt: skip
        again = artifacts.store_parameters(
            tenant_id=world.tenant.id, stream=[arrays.save(given(3.0))], now=NOW
        )
        assert again.digest == digest


def test_a_released_sum_names_what_is_kept(world):
    run_round(world, 1, 1.0)
    with system_scope():
        RoundSum.objects.update(released_at=NOW)
    with scope(world.tenant.id), pytest.raises(selectors.VersionReleased):
        driven.download(job_id=world.job.id, number=1)
