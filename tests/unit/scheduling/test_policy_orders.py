"""The order that each policy promises, on rounds small enough to order by hand."""

import dataclasses

import pytest

from scheduling import policies
from scheduling.policies import OpenRound, SignatureSupply, Snapshot

NOW = 1_000.0
ONE_GROUP = (SignatureSupply("g", frozenset({"g"})),)


def round_(name, *, remaining=5, submitted_at=0.0, opened_at=NOW, priority=0):
    return OpenRound(
        name, name, "t", "g", remaining, remaining, 1, priority, submitted_at, opened_at
    )


def order(name, *rounds, **parameters):
    plan = policies.make(name, parameters).plan(Snapshot(NOW, rounds, ONE_GROUP))
    return plan.rounds_of("g")


def test_fifo_serves_the_job_that_was_submitted_first():
    submitted = {"b": 20, "c": 30, "a": 10}
    rounds = [round_(name, submitted_at=at) for name, at in submitted.items()]
    assert order("fifo", *rounds) == ("a", "b", "c")


def test_srsf_serves_the_round_that_needs_fewest_devices():
    rounds = (round_("b", remaining=5), round_("c", remaining=9), round_("a", remaining=1))
    assert order("srsf", *rounds) == ("a", "b", "c")


def test_srsf_serves_a_round_that_has_waited_too_long_before_all_younger_ones():
    rounds = (
        round_("small", remaining=1),
        round_("large", remaining=90, opened_at=NOW - 60),
        round_("larger", remaining=99, opened_at=NOW - 70),
    )
    assert order("srsf", *rounds, max_wait_s=60) == ("larger", "large", "small")
    assert order("srsf", *rounds, max_wait_s=61) == ("larger", "small", "large")
    assert order("srsf", *rounds, max_wait_s=0) == ("small", "large", "larger")


@pytest.mark.parametrize("name", ["fifo", "srsf"])
def test_a_higher_priority_goes_first(name):
    assert order(name, round_("a"), round_("b", priority=1)) == ("b", "a")


def test_random_leaves_the_order_to_each_request():
    assert policies.make("random", {}).plan(Snapshot(NOW, (round_("a"),), ONE_GROUP)).shuffled


@pytest.mark.parametrize("value", [-1, "60", True, float("nan"), float("inf"), None])
def test_srsf_refuses_a_wait_that_is_no_duration(value):
    with pytest.raises(policies.BadParameters) as caught:
        policies.make("srsf", {"max_wait_s": value})
    assert "max_wait_s" in caught.value.errors


def test_an_unknown_policy_is_refused_with_those_that_there_are():
    with pytest.raises(policies.BadParameters, match="fifo, irs, las, propius"):
        policies.make("venn", {})


def test_queues_are_stored_once_a_group_and_merged_for_a_signature():
    groups = {"a": "x", "b": "y", "c": "x", "d": "z"}
    rounds = [
        dataclasses.replace(round_(name, submitted_at=place), group=group)
        for place, (name, group) in enumerate(groups.items())
    ]
    supply = [SignatureSupply(one, frozenset(one.split("+"))) for one in ("x+y", "y+z", "x", "w")]
    plan = policies.make("fifo", {}).plan(Snapshot(NOW, tuple(rounds), tuple(supply)))
    assert plan.queues == {"x": ("a", "c"), "y": ("b",), "z": ("d",)}
    served = {one.signature: "".join(plan.rounds_of(one.signature)) for one in supply}
    assert served == {"x+y": "abc", "y+z": "bd", "x": "ac", "w": ""}


def test_fair_merges_the_queues_of_all_tenants_in_the_order_of_what_they_are_due():
    rounds = [
        dataclasses.replace(round_(name, submitted_at=at), tenant=tenant, group=group)
        for name, at, tenant, group in (
            ("a", 1, "rich", "x"), ("b", 2, "poor", "y"),
            ("c", 3, "poor", "x"), ("d", 0, "rich", "y"),
        )
    ]  # fmt: skip
    shares = {"rich": policies.Share(used_s=500.0), "poor": policies.Share()}
    supply = (SignatureSupply("x+y", frozenset({"x", "y"})), SignatureSupply("x", frozenset({"x"})))
    fair = policies.make("fair", {"within": "fifo"})
    plan = fair.plan(Snapshot(NOW, tuple(rounds), supply, shares))
    assert plan.queues == {"x": ("c", "a"), "y": ("b", "d")}
    assert plan.rounds_of("x+y") == ("b", "c", "d", "a")
