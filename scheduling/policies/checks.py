"""The checks that every policy must pass; import them to check a policy of your own.

    from scheduling.policies import checks
    from mine import MyPolicy

    def test_my_policy():
        checks.check(MyPolicy({}))

Pure, and without a test framework: each check raises AssertionError naming the seed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from scheduling.policies import shares
from scheduling.policies.base import OpenRound, Policy, Share, SignatureSupply, Snapshot

NOW = 1_000_000.0
GROUPS = ("aa", "bb", "cc", "dd")
SEEDS = range(5)


def snapshot(
    seed: int = 0, *, rounds: int = 40, signatures: int = 12, tenants: int = 3
) -> Snapshot:
    """Return a random snapshot: jobs of all sizes, part-filled rounds, near and far deadlines."""
    draw = random.Random(seed)
    supply = {"": SignatureSupply("", frozenset())}
    for _ in range(signatures):
        groups = draw.sample(GROUPS, draw.randint(1, len(GROUPS)))
        name = "+".join(sorted(groups))
        supply[name] = SignatureSupply(name, frozenset(groups), rate=draw.random(), idle=3)
    return Snapshot(
        now=NOW,
        rounds=tuple(_round(draw, number, tenants) for number in range(rounds)),
        supply=tuple(supply[name] for name in sorted(supply)),
        shares={
            f"tenant-{number}": Share(
                weight=1.0 + number, held=draw.randint(0, 50), used_s=draw.uniform(0, 1e5)
            )
            for number in range(tenants)
        },
    )


def _round(draw: random.Random, number: int, tenants: int) -> OpenRound:
    opened_at = NOW - draw.uniform(0, 1_000)
    remaining = draw.randint(1, 50)
    return OpenRound(
        id=f"round-{number:05}",
        job=f"job-{number % 1_700}",
        tenant=f"tenant-{number % tenants}",
        group=draw.choice(GROUPS),
        demand=50,
        remaining=remaining,
        rounds_left=draw.randint(1, 100),
        priority=draw.choice((0, 0, 0, 5, -5)),
        submitted_at=opened_at - draw.uniform(0, 1_000),
        opened_at=opened_at,
        quorum=40,
        bound=50 - remaining,
        deadline_at=NOW + draw.uniform(0, 1_000),
        workload_s=draw.choice((0.0, 50.0)),
        scheduling_s=draw.uniform(0, 300),
        response_s=draw.uniform(0, 300),
        attained_s=draw.uniform(0, 1e6),
    )


def eligible_only(policy: Policy) -> None:
    """No signature is served a round whose group it lacks, nor one twice."""
    for seed in SEEDS:
        given = snapshot(seed)
        plan = policy.plan(given)
        for supply in given.supply:
            served = plan.rounds_of(supply.signature)
            assert set(served) <= _eligible(given, supply), f"ineligible round, seed {seed}"
            assert len(served) == len(set(served)), f"a round twice, seed {seed}"


def complete(policy: Policy) -> None:
    """Every signature is named, and every queue that it names exists."""
    for seed in SEEDS:
        given = snapshot(seed)
        plan = policy.plan(given)
        assert set(plan.signatures) == {one.signature for one in given.supply}, f"seed {seed}"
        named = {name for names in plan.signatures.values() for name in names}
        assert named == set(plan.queues), f"queues and their names differ, seed {seed}"


def work_conserving(policy: Policy) -> None:
    """Every eligible open round is reached from every signature, where the policy promises it."""
    if not getattr(policy, "work_conserving", True):
        return
    for seed in SEEDS:
        given = snapshot(seed)
        plan = policy.plan(given)
        for supply in given.supply:
            left_out = _eligible(given, supply) - set(plan.rounds_of(supply.signature))
            assert not left_out, f"{supply.signature} never reaches {left_out}, seed {seed}"


def never_over_demand(policy: Policy) -> None:
    """Devices that walk the plan fill every round to its demand at most, and leave none idle."""
    for seed in SEEDS:
        given = snapshot(seed)
        free = {one.id: one.remaining for one in given.rounds}
        draw = random.Random(seed)
        plan = policy.plan(given)
        for _ in range(2_000):
            supply = draw.choice(given.supply)
            for name in plan.rounds_of(supply.signature):
                if free[name]:
                    free[name] -= 1
                    break
        assert min(free.values()) >= 0, f"over demand, seed {seed}"


def shares_kept(policy: Policy) -> None:
    """No tenant passes its ceiling, and what tenants keep for themselves is left to them.

    Devices walk the plan within :func:`shares.room`, as the bind script lets them.
    """
    for seed in SEEDS:
        draw = random.Random(seed)
        plain = snapshot(seed)
        idle = draw.choice((2, 9))
        supply = tuple(replace(one, idle=idle) for one in plain.supply)
        given = replace(plain, supply=supply, shares=_bounded(draw))
        held = {tenant: share.held for tenant, share in given.shares.items()}
        connected = sum(one.idle + one.busy for one in given.supply)
        keeps = sum(map(shares.kept, given.shares.values()))
        free = max(0, connected - sum(held.values()) - keeps)
        allowed = shares.room(given)
        of = {one.id: one for one in given.rounds}
        left = {one.id: one.remaining for one in given.rounds}
        plan = policy.plan(given)
        for _ in range(2_000):
            for name in plan.rounds_of(draw.choice(given.supply).signature):
                tenant = of[name].tenant
                if left[name] and allowed.get(tenant, 1) > 0:
                    left[name] -= 1
                    held[tenant] += 1
                    if tenant in allowed:
                        allowed[tenant] -= 1
                    break
        lent = 0
        for tenant, share in given.shares.items():
            assert share.ceiling is None or held[tenant] <= max(share.ceiling, share.held), (
                f"{tenant} passes its ceiling, seed {seed}"
            )
            lent += max(0, held[tenant] - share.held - shares.kept(share))
        assert not keeps or lent <= free, f"{lent} of {free} devices were lent, seed {seed}"


def _bounded(draw: random.Random) -> dict[str, Share]:
    """Return shares with guarantees, ceilings and lending limits; one tenant asks for nothing."""
    return {
        f"tenant-{number}": Share(
            weight=1.0 + number,
            guarantee=10,
            ceiling=draw.choice((None, 10, 15)),
            held=draw.randint(0, 8),
            lending_limit=draw.choice((None, 0, 4, 10)),
        )
        for number in range(4)
    }


def deterministic(policy: Policy) -> None:
    """The same snapshot gives the same plan, whatever the order of its rounds."""
    for seed in SEEDS:
        given = snapshot(seed)
        mixed = list(given.rounds)
        random.Random(1).shuffle(mixed)
        again = Snapshot(given.now, tuple(mixed), given.supply, given.shares)
        plan = policy.plan(given)
        assert plan == policy.plan(given) == policy.plan(again), f"seed {seed}"


def starves_nobody(policy: Policy) -> None:
    """A large old round is served first against an endless stream of small new ones."""
    if not getattr(policy, "work_conserving", True):
        return
    old = OpenRound("old", "a", "t", "aa", 100, 100, 9, 0, NOW - 10_000, NOW - 9_000)
    new = [
        OpenRound(f"new-{number}", f"b{number}", "t", "aa", 1, 1, 1, 0, NOW - 1, NOW - 1)
        for number in range(50)
    ]
    supply = (SignatureSupply("aa", frozenset({"aa"}), rate=1.0),)
    plan = policy.plan(Snapshot(NOW, (*new, old), supply))
    first = plan.rounds_of("aa")[0]
    assert plan.shuffled or first == "old", f"{first} goes before a round open for 2.5 h"


def empty(policy: Policy) -> None:
    """An empty platform is planned too."""
    plan = policy.plan(Snapshot(NOW, (), (SignatureSupply("", frozenset()),)))
    assert plan.rounds_of("") == () == plan.rounds_of("never-seen")


def quick(policy: Policy, *, ms_per_100: float = 1.0) -> None:
    """Planning takes at most a millisecond of CPU for every 100 jobs; best of some tries."""
    given = snapshot(rounds=500)
    policy.plan(given)
    took = []
    for _ in range(5):
        at = time.process_time()
        policy.plan(given)
        took.append(time.process_time() - at)
    assert min(took) * 1e3 <= 5 * ms_per_100, f"{min(took) * 1e3:.1f} ms for 500 jobs"


CHECKS: tuple[Callable[[Policy], None], ...] = (
    eligible_only, complete, work_conserving, never_over_demand, shares_kept, deterministic,
    starves_nobody, empty, quick,
)  # fmt: skip


def check(policy: Policy) -> None:
    """Run every check. Raises AssertionError at the first that fails."""
    for one in CHECKS:
        one(policy)


def _eligible(given: Snapshot, supply: SignatureSupply) -> set[str]:
    return set(_ids(given, supply))


def _ids(given: Snapshot, supply: SignatureSupply) -> Iterator[str]:
    return (one.id for one in given.rounds if one.group in supply.groups)
