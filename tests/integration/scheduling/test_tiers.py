"""Speed tiers from learnt times to bound devices: who gets a round that is kept for the fast."""

import random
from uuid import UUID, uuid4

import pytest

from jobs import services as job_services
from jobs.models import Round
from scheduling import keys, learning, selectors, services, supply
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import later
from tests.integration.scheduling.test_planning import Fleet, bound_to, choose, run

OPENED_S = 30


@pytest.fixture(autouse=True)
def system():
    """Planners work as the system role."""
    with system_scope():
        yield


@pytest.fixture
def fleets():
    """As many fast devices as slow ones check in."""
    pool = factories.pool(None, "everybody")
    found = Fleet(pool, cpu_score=8.0), Fleet(pool, cpu_score=1.0)
    for one in found:
        one.register()
    check_in(found, 60, 60)
    yield found
    supply._rates.cache_clear()


def check_in(fleets, *counts):
    told = {one.profile.key: count for one, count in zip(fleets, counts, strict=True)}
    run(lambda door: door.count_check_ins(told))
    supply._rates.cache_clear()


def learnt(fleets, **changes):
    """A job whose first round took 5 s to bind, 1 s on 20 fast devices and 20 s on 20 slow ones.

    Its second opens at ``OPENED_S``, has a selection window of 10 s, and is drawn for the fast:
    c = 20 / 5 = 4 and 2 + 4 · 0.05 < 1 + 4.
    """
    job = factories.job(
        factories.tenant(), rounds__demand=40, rounds__over_selection=1, rounds__count=3, **changes
    )
    row = job.rounds.get()
    bound = [(one.device(), at) for one, at in zip(fleets, (6, 25), strict=True) for _ in range(20)]
    bindings = [job_services.Binding(uuid4(), row.id, device.id, 1) for device, _ in bound]
    job_services.assign(bindings=bindings, now=later(5))
    for one, (_, at) in zip(bindings, bound, strict=True):
        mine = {"assignment_id": one.assignment_id, "device_id": one.device_id}
        job_services.accept(**mine, now=later(5))
        job_services.report(**mine, now=later(at))
    job_services.complete_round(
        round_id=row.id, parameters_digest="b" * 64, parameters_size=1, version=1, metrics={},
        now=later(OPENED_S),
    )  # fmt: skip
    learning.learn(now=later(OPENED_S + 3))
    drawn = next(one for one in map(UUID, _numbers()) if random.Random(str(one)).randrange(2) == 0)
    Round.objects.filter(id=factories.open_round(job).id).update(id=drawn)
    return job


def _numbers():
    return (f"{number:032x}" for number in range(1, 100))


def test_times_are_learnt_by_the_speed_of_devices(fleets):
    job = learnt(fleets)
    past = learning.read([job.id])[job.id]
    # 8 is step 24, 1 is step 12.
    assert past.ratios((24,)) == pytest.approx((0.05, 1.0), rel=0.2)
    assert past.ratios((30, 24, 12)) == pytest.approx((1.0, 0.05, 1.0, 1.0), rel=0.2)
    assert (past.scheduling_s, past.response_s) == (5, 20)


@pytest.mark.parametrize("score", ["8", 0, -1, True])
def test_strange_scores_do_not_stop_the_learning(fleets, score):
    pool = fleets[0].pool
    job = learnt((Fleet(pool, cpu_score=score), Fleet(pool, cpu_score=10**400)))
    assert learning.read([job.id])[job.id].ratios((24,)) == pytest.approx((1.0, 0.05), rel=0.2)


@pytest.mark.parametrize("chosen", [("irs", {"tiers": 2}), ("fair", {"within": "irs", "tiers": 2})])
def test_a_round_is_kept_for_fast_devices_until_it_has_waited(fleets, chosen):
    fast, slow = fleets
    job = learnt(fleets)
    choose(policy=chosen[0], parameters=chosen[1])
    services.plan(now=later(OPENED_S + 4))
    assert bound_to(job, slow.bind(2)) == 0
    assert bound_to(job, fast.bind(2)) == 2
    services.plan(now=later(OPENED_S + 5))
    assert bound_to(job, slow.bind(2)) == 2
    assert bound_to(job, fast.bind(2)) == 2


def test_slow_devices_are_given_the_round_behind(fleets):
    fast, slow = fleets
    job = learnt(fleets)
    behind = factories.job(job.tenant, name="behind", rounds__demand=50)
    choose(policy="irs", parameters={"tiers": 2})
    services.plan(now=later(OPENED_S + 1))
    assert bound_to(behind, slow.bind(2)) == 2
    assert bound_to(job, fast.bind(2)) == 2


def test_a_device_that_tells_no_score_is_slow(fleets):
    job = learnt(fleets)
    unknown = Fleet(fleets[0].pool)
    unknown.register()
    choose(policy="irs", parameters={"tiers": 2})
    services.plan(now=later(OPENED_S + 1))
    groups = run(lambda door: door.groups())
    assert groups.sign(unknown.profile) == groups.sign(fleets[1].profile)
    assert bound_to(job, unknown.bind(1)) == 0


def test_nothing_of_tiers_is_told_where_the_policy_has_none(fleets, redis):
    job = learnt(fleets)
    plain = services.plan(now=later(OPENED_S + 1))
    assert run(lambda door: door.groups()).sign(fleets[0].profile) == job.constraint_group
    assert not redis.exists(keys.TIERS)
    assert plain.groups == selectors.constraint_groups().version
    assert b"tiers" not in redis.get(keys.GROUPS)


def test_boundaries_stay_from_plan_to_plan_until_the_supply_has_moved(fleets):
    factories.job(factories.tenant())
    third = Fleet(fleets[0].pool, cpu_score=4.0)
    third.register()
    fleets = (*fleets, third)
    choose(policy="irs", parameters={"tiers": 2})
    first = services.plan(now=later(1))
    assert run(lambda door: door.groups()).tiers == (24,)
    check_in(fleets, 0, 20, 20)  # 60, 80 and 20: the slower tier has 0.625
    assert services.plan(now=later(2)).groups == first.groups
    check_in(fleets, 0, 100, 340)  # 60, 180 and 360: it has 0.9, and 0.7 with the third in it
    moved = services.plan(now=later(3))
    assert moved.groups != first.groups
    assert run(lambda door: door.groups()).tiers == (20,)
    choose(policy="irs", parameters={"tiers": 3})
    services.plan(now=later(4))
    assert run(lambda door: door.groups()).tiers == (24, 20)


def test_what_was_signed_under_other_tiers_is_not_planned_for(fleets, redis):
    job = factories.job(factories.tenant())
    group = job.constraint_group
    redis.sadd(keys.WANTED, f"{group}+~7", group, "")
    choose(policy="irs", parameters={"tiers": 2})
    services.plan(now=later(1))
    planned = {one.decode() for one in redis.hkeys(keys.P + "plan:signatures")}
    assert planned == {"", f"{group}+~0", f"{group}+~1"}
