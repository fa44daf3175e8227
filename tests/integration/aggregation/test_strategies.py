"""Strategies and codecs from the accepted update to the next version, through the rows."""

import numpy as np
import pytest

from aggregation import blobs, closing, folding, services, uploads
from aggregation.models import ModelVersion
from jobs.models import Job
from propius import arrays, codec
from tenants.scopes import system_scope
from tests.integration.aggregation.worlds import make_world, path_of, upload
from tests.integration.factories import NOW

ATTACK = 1e6


def report(world, values, *, examples=None, metrics=None, name="fp32"):
    """Let each device send a change of one value; returns the round, closed."""
    round_ = world.round()
    base = arrays.load(path_of(round_.base_digest))["weight"]
    with system_scope():
        for number, (bound, value) in enumerate(zip(world.bind(round_), values, strict=True)):
            change = np.full((2, 2), value, np.float32)
            chosen = name if isinstance(name, str) else name[number]
            whole = change if codec.get(chosen).difference else base + change
            data = arrays.save(codec.encode({"weight": whole}, codec=chosen))
            digest = upload(*bound, data)
            services.accept_update(
                assignment_id=bound[0], device_id=bound[1].id, digest=digest,
                size_bytes=len(data), weight=examples[number] if examples else 1.0,
                metrics=metrics[number] if metrics else {}, now=NOW,
            )  # fmt: skip
        while folding.fold_next(round_id=round_.id, now=NOW):
            pass
        assert closing.close_round(round_id=round_.id, now=NOW)
        round_.refresh_from_db()
    return round_


def weight_of(world):
    with system_scope():
        return arrays.load(path_of(Job.objects.get(id=world.job.id).parameters_digest))["weight"]


def test_an_adaptive_strategy_goes_on_from_the_state_of_the_version_before():
    world = make_world(strategy={"name": "fedavgm", "momentum": 0.5, "learning_rate": 1.0})
    report(world, [1.0] * 6)
    with system_scope():
        first = ModelVersion.objects.get(job=world.job, number=1)
        assert arrays.load(path_of(first.state_digest))["weight/velocity"].tolist() == [[1, 1]] * 2
    report(world, [1.0] * 6)
    # v = 1, then 0.5·1 + 1.
    assert weight_of(world).tolist() == [[2.5, 2.5], [2.5, 2.5]]


@pytest.mark.parametrize("strategy", ["median", "multi_krum", "trimmed_mean"])
def test_a_robust_strategy_sees_every_update_and_keeps_no_state(strategy):
    settings = {"trimmed_mean": {"share": 0.2}}.get(strategy, {})
    world = make_world(strategy={"name": strategy, **settings})
    report(world, [1.0, 1.0, ATTACK, 1.0, 1.0, 1.0], examples=[1, 1, 1e6, 1, 1, 1])
    assert weight_of(world).tolist() == [[1, 1], [1, 1]]
    with system_scope():
        assert ModelVersion.objects.get(job=world.job, number=1).state_digest == ""


def test_krum_with_too_few_updates_fails_the_round_with_the_numbers():
    world = make_world(strategy={"name": "krum", "attackers": 1})
    with system_scope():
        spec = Job.objects.get(id=world.job.id).spec
        spec["strategy"]["attackers"] = 2
        Job.objects.filter(id=world.job.id).update(spec=spec)
    round_ = report(world, [1.0] * 6)
    assert (round_.outcome, round_.reason["code"]) == ("failed", "step_failed")
    assert "6 updates; against 2 attackers Krum needs 7" in round_.reason["message"]


LADDERS = [["fp32", "fp16", "bf16", "int8"], ["delta-fp16", "delta-int8", "topk1", "topk10"]]


@pytest.mark.parametrize("ladder", LADDERS, ids=["whole", "differences"])
def test_devices_choose_among_the_codecs_that_the_job_allows(ladder):
    world = make_world(codec=ladder[0])
    with system_scope():
        spec = Job.objects.get(id=world.job.id).spec
        spec["workload"]["adaptive"] = {"codecs": ladder[1:]}
        Job.objects.filter(id=world.job.id).update(spec=spec)
    sent = [ladder[number % 4] for number in range(6)]
    report(world, [4.0] * 6, name=sent)
    # What a sparse codec does not send is no change.
    np.testing.assert_allclose(weight_of(world).max(), 4.0, rtol=0.02)


def test_a_codec_that_the_job_does_not_allow_is_refused_by_its_tensors():
    world = make_world(codec="fp32")
    with pytest.raises(uploads.UpdateRefused) as caught:
        report(world, [1.0] * 6, name="fp16")
    assert (caught.value.code, list(caught.value.errors)) == ("tensor_mismatch", ["tensors.weight"])


@pytest.mark.parametrize("name", sorted(codec.CODECS))
@pytest.mark.parametrize("strategy", ["fedavg", "median"])
def test_every_codec_folds(name, strategy):
    world = make_world(codec=name, strategy={"name": strategy})
    report(world, [1.0, 2.0, 3.0, 3.0, 4.0, 5.0], name=name)
    first = weight_of(world)
    report(world, [0.5] * 6, name=name)
    if name.startswith("topk"):
        # One of four elements travels: by numpy's choice the same one each time.
        assert sorted(first.ravel().tolist()) == [0, 0, 0, 3]
        assert weight_of(world).sum() == 3.5
    else:
        np.testing.assert_allclose(first, np.full((2, 2), 3.0), rtol=0.01)
        np.testing.assert_allclose(weight_of(world), np.full((2, 2), 3.5), rtol=0.01)


def test_an_update_whose_indices_would_write_elsewhere_is_refused():
    world = make_world(codec="topk10")
    assignment, device = world.bind(world.round())[0]
    sent = {"weight": np.ones(1, np.float32), "weight@index": np.array([4], np.int32)}
    with system_scope(), pytest.raises(uploads.UpdateRefused) as refused:
        upload(assignment, device, arrays.save(sent))
    assert refused.value.code == "bad_index"
    assert not list(blobs.store().incoming.iterdir())


def test_local_tensors_are_not_taken_and_stay_as_they_are():
    world = make_world(workload__local=["wei*"])
    assignment, device = world.bind(world.round())[0]
    data = arrays.save({"weight": np.ones((2, 2), np.float32)})
    with system_scope(), pytest.raises(uploads.UpdateRefused) as refused:
        upload(assignment, device, data)
    assert refused.value.code == "tensor_mismatch"


def test_a_private_job_weighs_all_alike_and_tells_what_it_spent():
    private = {"clip": {"kind": "fixed", "norm": 2.0}, "noise_multiplier": 1e-4}
    world = make_world(privacy=private, strategy={"name": "fedavgm", "momentum": 0.0})
    told = [{"loss": 1.0}] * 6
    report(world, [0.5, 0.5, 0.5, 0.5, 0.5, ATTACK], examples=[1, 1, 1, 1, 1, 1e6], metrics=told)
    # The last is clipped from norm 2e6 to 2, an element from 1e6 to 1.
    np.testing.assert_allclose(weight_of(world), np.full((2, 2), 3.5 / 6), atol=1e-3)
    report(world, [0.5] * 6, metrics=told)
    with system_scope():
        first, second = ModelVersion.objects.filter(job=world.job, number__gt=0).order_by("number")
        assert set(first.metrics) == {"epsilon", "delta", "clip_norm"}
        assert 0 < first.metrics["epsilon"] < second.metrics["epsilon"]


def test_an_adaptive_norm_goes_on_from_the_version_before():
    clip = {"kind": "adaptive", "norm": 1.0, "quantile": 0.5, "rate": 1.0, "count_noise": 1e-3}
    world = make_world(privacy={"clip": clip, "noise_multiplier": 1e-3})
    norms = []
    for _ in range(2):
        report(world, [5.0] * 6)
        with system_scope():
            version = ModelVersion.objects.filter(job=world.job).latest("number")
            norms.append(version.metrics["clip_norm"])
            assert list(arrays.load(path_of(version.state_digest))) == ["/clip"]
    # All of them were clipped: the norm grows by e^½.
    assert norms == [1.0, pytest.approx(np.exp(0.5), rel=1e-2)]
