"""One suite for every policy in the registry: what the scheduler relies on."""

import random

import pytest

from scheduling import policies
from scheduling.policies import OpenRound, SignatureSupply, Snapshot

NOW = 1_000_000.0
GROUPS = ("aa", "bb", "cc", "dd")


@pytest.fixture(params=sorted(policies.REGISTRY))
def policy(request):
    return policies.make(request.param, {})


def snapshot(seed=0, *, rounds=40, signatures=12):
    draw = random.Random(seed)
    opened = [NOW - draw.uniform(0, 1000) for _ in range(rounds)]
    supply = {"": SignatureSupply("", frozenset())}
    for _ in range(signatures):
        groups = draw.sample(GROUPS, draw.randint(1, len(GROUPS)))
        name = "+".join(sorted(groups))
        supply[name] = SignatureSupply(name, frozenset(groups), rate=draw.random(), idle=3)
    return Snapshot(
        now=NOW,
        rounds=tuple(
            OpenRound(
                id=f"round-{number:03}",
                job=f"job-{number % 17}",
                tenant=f"tenant-{number % 3}",
                group=draw.choice(GROUPS),
                demand=50,
                remaining=draw.randint(1, 50),
                rounds_left=draw.randint(1, 100),
                priority=draw.choice((0, 0, 0, 5, -5)),
                submitted_at=opened[number] - draw.uniform(0, 1000),
                opened_at=opened[number],
            )
            for number in range(rounds)
        ),
        supply=tuple(supply[name] for name in sorted(supply)),
    )


def eligible(given, supply):
    return {one.id for one in given.rounds if one.group in supply.groups}


@pytest.mark.parametrize("seed", range(5))
class TestEveryPolicy:
    def test_it_never_serves_a_round_to_a_signature_that_lacks_its_group(self, policy, seed):
        given = snapshot(seed)
        plan = policy.plan(given)
        for supply in given.supply:
            assert set(plan.rounds_of(supply.signature)) <= eligible(given, supply)

    def test_every_eligible_open_round_is_reachable_from_every_signature(self, policy, seed):
        given = snapshot(seed)
        plan = policy.plan(given)
        for supply in given.supply:
            assert set(plan.rounds_of(supply.signature)) >= eligible(given, supply)

    def test_no_round_is_tried_twice_for_one_device(self, policy, seed):
        given = snapshot(seed)
        plan = policy.plan(given)
        for supply in given.supply:
            served = plan.rounds_of(supply.signature)
            assert len(served) == len(set(served))

    def test_it_names_every_signature_and_only_queues_that_exist(self, policy, seed):
        given = snapshot(seed)
        plan = policy.plan(given)
        assert set(plan.signatures) == {one.signature for one in given.supply}
        assert {name for names in plan.signatures.values() for name in names} == set(plan.queues)

    def test_the_same_snapshot_gives_the_same_plan_whatever_its_order(self, policy, seed):
        given = snapshot(seed)
        mixed = list(given.rounds)
        random.Random(1).shuffle(mixed)
        again = Snapshot(NOW, tuple(mixed), given.supply, given.shares)
        assert policy.plan(given) == policy.plan(given) == policy.plan(again)


def test_it_plans_an_empty_platform(policy):
    plan = policy.plan(Snapshot(NOW, (), (SignatureSupply("", frozenset()),)))
    assert plan.rounds_of("") == ()
    assert plan.rounds_of("never-seen") == ()


def test_signatures_that_may_take_the_same_rounds_share_one_queue(policy):
    given = snapshot(rounds=3)
    only = {one.group for one in given.rounds}
    supply = tuple(
        SignatureSupply(f"s{number}", frozenset(only | {f"no-round-{number}"}))
        for number in range(50)
    )
    plan = policy.plan(Snapshot(NOW, given.rounds, supply))
    assert len(plan.queues) == 1


def test_no_round_starves(policy):
    """A large round, open for long, against an endless stream of small new ones."""
    old = OpenRound("old", "a", "t", "aa", 100, 100, 9, 0, NOW - 10_000, NOW - 9_000)
    new = [
        OpenRound(f"new-{number}", f"b{number}", "t", "aa", 1, 1, 1, 0, NOW - 1, NOW - 1)
        for number in range(50)
    ]
    plan = policy.plan(Snapshot(NOW, (*new, old), (SignatureSupply("aa", frozenset({"aa"})),)))
    assert plan.shuffled or plan.rounds_of("aa")[0] == "old"


def test_it_refuses_parameters_that_it_does_not_take(policy):
    with pytest.raises(policies.BadParameters) as caught:
        policies.make(policy.name, {"speed": 3})
    assert set(caught.value.errors) == {"speed"}


def test_its_name_is_the_one_in_the_registry(policy):
    assert policies.REGISTRY[policy.name] is type(policy)
