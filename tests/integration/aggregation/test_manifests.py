"""A job's manifest over REST: what went into each version, and nothing that a device measured."""

import json
from datetime import timedelta

import pytest

import jobs.services
import scheduling.services
from aggregation import manifests
from clients.selectors import pseudonym
from jobs.models import Round
from propius import manifest as sdk
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.aggregation.test_rot import rotted
from tests.integration.aggregation.test_rounds import finish
from tests.integration.aggregation.worlds import make_world, send
from tests.integration.factories import NOW


@pytest.fixture
def ask(client):
    def get(world, **query):
        path = f"/api/v1/jobs/{world.job.id}/manifest"
        headers = {"Authorization": f"Bearer {factories.token(world.tenant)}"}
        return client.get(path, query, headers=headers)

    return get


def train(world, *, weights=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)):
    """Let all report and fold the round; returns it and what was bound."""
    round_ = world.round()
    bound = world.bind(round_)
    for (assignment, device), weight in zip(reversed(bound), weights, strict=True):
        send(assignment, device, weight, weight=weight, loss=weight)
    with system_scope():
        assert finish(round_.id)
        round_.refresh_from_db()
    return round_, bound


def test_it_tells_cohort_and_fold_in_order(ask):
    world = make_world()
    round_, bound = train(world)
    raw = ask(world).json()
    found = sdk.convert(raw)
    assert (found.seed, found.tenant, found.next) == (0, world.tenant.slug, None)
    assert found.parameters.digest == world.job.spec["parameters"]
    first, second = found.rounds
    assert (first.id, first.outcome, first.seed) == (str(round_.id), "completed", round_.seed)
    # In the order in which they were counted, which is not that in which they were bound.
    assert [one.assignment for one in first.cohort] == [str(one) for one, _ in reversed(bound)]
    assert first.cohort[0].device == pseudonym(world.tenant.id, bound[-1][1].id)
    assert [(one.number, one.first, one.last) for one in first.batches] == [
        (0, 1, 2), (1, 3, 4), (2, 5, 6),
    ]  # fmt: skip
    assert first.version is not None
    assert (first.version.number, first.version.weight) == (1, 21.0)
    assert first.version.made_with["platform"] == found.platform["platform"]
    assert (second.outcome, second.cohort, second.batches, second.version) == ("", [], [], None)
    assert second.base_digest == first.version.digest


def test_nothing_of_a_single_device_is_told(ask):
    world = make_world()
    _, bound = train(world, weights=(101.0, 102.0, 103.0, 104.0, 105.0, 106.0))
    text = json.dumps(ask(world).json())
    for number in range(101, 107):
        assert f"{number}.0" not in text
    for _, device in bound:
        assert str(device.id) not in text
        assert device.name not in text


def test_a_round_that_was_not_released_has_no_cohort(ask):
    world = make_world()
    round_ = world.round()
    bound = world.bind(round_)
    for assignment, device in bound[:3]:
        send(assignment, device, 1.0)
    with system_scope():
        jobs.services.fail_round(round_id=round_.id, code="fold_failed", message="x", now=NOW)
    failed = ask(world).json()["rounds"][0]
    assert (failed["outcome"], failed["reason"], failed["reported"]) == ("failed", "fold_failed", 3)
    assert (failed["cohort"], failed["batches"], failed["version"]) == ([], [], None)


def test_policies_are_told_with_the_rounds_that_they_were_in_force_for(ask):
    world = make_world()
    with system_scope():
        for name, minutes in (("fifo", -10), ("srsf", 5), ("las", 60)):
            scheduling.services.set_policy(
                name=name, parameters={}, reason="x", author="op",
                now=NOW + timedelta(minutes=minutes),
            )  # fmt: skip
        Round.objects.filter(job=world.job).update(closed_at=NOW + timedelta(minutes=30))
    found = ask(world).json()
    assert [one["name"] for one in found["policies"]] == ["fifo", "srsf"]
    assert found["rounds"][0]["policies"] == [one["version"] for one in found["policies"]]


def test_it_comes_in_parts_that_fit_together(ask, monkeypatch, django_assert_max_num_queries):
    world = make_world(rounds__count=4)
    for _ in range(3):
        train(world)
    whole = ask(world).json()
    assert len(whole["rounds"]) == 4
    # As many queries for four rounds as for one.
    with django_assert_max_num_queries(30):
        ask(world)
    monkeypatch.setattr(manifests, "MOST_MEMBERS", 10)
    part = ask(world).json()
    rounds = [len(part["rounds"])]
    while part["next"] is not None:
        more = ask(world, after=part["next"]).json()
        rounds.append(len(more["rounds"]))
        part = sdk.joined(part, more)
    assert rounds == [1, 1, 2]
    assert part["rounds"] == whole["rounds"]
    refused = ask(world, after="x")
    assert refused.status_code == 400
    assert "the id of a round is allowed" in refused.json()["errors"]["after"]


def test_an_update_that_rotted_is_not_of_the_cohort(ask):
    world = make_world()
    round_ = world.round()
    bound = world.bind(round_)
    for number, (assignment, device) in enumerate(bound):
        send(assignment, device, number + 1.25)  # no sum of two is another: equal bytes heal
    with system_scope():
        rotted(round_, 3)
        assert any(finish(round_.id) for _ in range(3))
    found = sdk.convert(ask(world).json()).rounds[0]
    kept = [str(assignment) for number, (assignment, _) in enumerate(bound) if number != 2]
    assert [one.assignment for one in found.cohort] == kept
    assert [(one.number, one.first, one.last) for one in found.batches] == [
        (0, 1, 2), (1, 3, 3), (2, 4, 5),
    ]  # fmt: skip
