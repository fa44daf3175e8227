"""The order that each policy promises, on rounds small enough to order by hand."""

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
