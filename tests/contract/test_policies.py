"""One suite for every policy in the registry: what the scheduler relies on."""

import pytest

from scheduling import policies
from scheduling.policies import SignatureSupply, Snapshot, checks


@pytest.fixture(params=sorted(policies.REGISTRY))
def policy(request):
    return policies.make(request.param, {})


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda one: one.__name__)
def test_every_policy_passes_the_suite(policy, check):
    check(policy)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("within", ["fifo", "irs", "las", "random", "srsf", "srtf"])
def test_fair_passes_the_suite_with_any_policy_within(check, within):
    check(policies.make("fair", {"within": within}))


@pytest.mark.parametrize("fairness", [1, 4])
def test_irs_passes_the_suite_with_a_fairness_setting(fairness):
    checks.check(policies.make("irs", {"fairness": fairness}))


@pytest.mark.parametrize(
    ("name", "parameters"), [("irs", {"tiers": 3}), ("fair", {"within": "irs", "tiers": 3})]
)
def test_it_passes_the_suite_with_tiers(name, parameters):
    checks.check(policies.make(name, parameters))


def test_the_suite_catches_a_policy_that_serves_who_is_not_eligible():
    class Careless:
        name = "careless"

        def plan(self, snapshot):
            given = checks.snapshot(0)
            everybody = Snapshot(
                snapshot.now,
                snapshot.rounds,
                tuple(
                    SignatureSupply(one.signature, frozenset(checks.GROUPS)) for one in given.supply
                ),
            )
            return policies.make("fifo", {}).plan(everybody)

    with pytest.raises(AssertionError, match="ineligible"):
        checks.check(Careless())


def test_queues_do_not_multiply_with_signatures(policy):
    if policy.name == "static":
        pytest.skip("parts of the fleet are what it makes")
    given = checks.snapshot(rounds=3)
    only = {one.group for one in given.rounds}
    supply = tuple(
        SignatureSupply(f"s{number}", frozenset(only | {f"no-round-{number}"}))
        for number in range(50)
    )
    plan = policy.plan(Snapshot(given.now, given.rounds, supply))
    assert len(plan.queues) <= len(given.rounds)


def test_it_refuses_parameters_that_it_does_not_take(policy):
    with pytest.raises(policies.BadParameters) as caught:
        policies.make(policy.name, {"speed": 3})
    assert set(caught.value.errors) == {"speed"}


def test_its_name_is_the_one_in_the_registry(policy):
    assert policies.REGISTRY[policy.name] is type(policy)
