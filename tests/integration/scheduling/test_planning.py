"""Plans over real rows: rebuilt after Redis was emptied, under shares, at a change of policy."""

import asyncio
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import connections
from jobs import services as job_services
from jobs.constraints import Group, Profile
from scheduling import history, keys, learning, planning, policies, selectors, services
from scheduling.binding import Binder, Bound, Request, Settlement
from scheduling.models import SharingPolicy
from tenants.models import AuditEntry
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later


@pytest.fixture(autouse=True)
def system():
    """Planners work as the system role."""
    with system_scope():
        yield


class Fleet:
    """Devices of one pool that check in as a gateway would have them."""

    def __init__(self, pool, **attributes):
        self.pool, self.attributes = pool, attributes

    def device(self):
        return factories.device(self.pool, **self.attributes)

    @property
    def profile(self):
        workloads = {"program": ["1"], "handler": ["train"]}
        return Profile(self.attributes, workloads, str(self.pool.id))

    def register(self):
        run(lambda door: door.register_profiles({self.profile.key: self.profile}))

    def bind(self, count, *, commit=True, devices=None):
        """Bind, commit and settle; return the round (or the other answer) by device."""
        asked = self.ask(devices or [self.device() for _ in range(count)])
        granted = [one for one in asked if isinstance(one[1], Bound)]
        if commit:
            self.settle(granted, self.assign(granted))
        return [one.round_id if isinstance(one, Bound) else one for _, one in asked]

    def ask(self, devices):
        async def inside(door):
            groups = await door.groups()
            signed = groups.sign(self.profile)
            asked = [Request(str(one.id), str(uuid4()), signed) for one in devices]
            return list(zip(asked, await door.bind(asked, groups.version), strict=True))

        return run(inside)

    def assign(self, granted):
        bindings = [
            job_services.Binding(
                UUID(a.assignment_id), UUID(b.round_id), UUID(a.device_id), b.plan_version
            )
            for a, b in granted
        ]
        return job_services.assign(bindings=bindings, now=NOW)

    def settle(self, granted, outcomes):
        settlements = [
            Settlement(b.round_id, a.assignment_id, a.device_id, outcomes[UUID(a.assignment_id)])
            for a, b in granted
        ]
        run(lambda door: door.settle(settlements))


def run(ask):
    async def inside():
        client = connections.soft_state_async()
        try:
            return await ask(Binder(client))
        finally:
            await client.aclose()

    return asyncio.run(inside())


@pytest.fixture
def fleet():
    fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
    fleet.register()
    return fleet


def bound_to(job, answers):
    return answers.count(str(factories.open_round(job).id))


def test_it_offers_what_the_rows_leave_open(fleet):
    job = factories.job(factories.tenant())
    notice = services.plan(now=NOW)
    assert sum(notice.open.values()) == 6
    assert bound_to(job, fleet.bind(8)) == 6
    assert services.plan(now=NOW).open == {}


def test_a_slot_given_back_is_open_again_but_not_for_that_device(fleet):
    factories.job(factories.tenant())
    services.plan(now=NOW)
    device = fleet.device()
    fleet.bind(1, devices=[device])
    (row,) = device.assignment_set.all()
    job_services.give_back(
        assignment_id=row.id, device_id=device.id, status="declined", code="busy", message="",
        now=NOW,
    )  # fmt: skip
    assert list(services.plan(now=NOW).open.values()) == [6]
    answers = fleet.bind(2, devices=[device, fleet.device()])
    assert [isinstance(one, str) for one in answers] == [False, True]


def test_an_emptied_redis_is_rebuilt_with_the_same_slots_and_devices_seen(fleet, redis):
    job = factories.job(factories.tenant())
    first = services.plan(now=NOW)
    device = fleet.device()
    fleet.bind(2, devices=[device, fleet.device()])
    redis.flushall()
    fleet.register()
    again = services.plan(now=later(1))
    assert again.epoch != first.epoch
    assert again.version >= first.version
    assert again.groups == first.groups
    assert list(again.open.values()) == [4]
    job_services.give_back(
        assignment_id=device.assignment_set.get().id, device_id=device.id, status="failed",
        code="x", message="", now=NOW,
    )  # fmt: skip
    services.plan(now=later(2))
    assert bound_to(job, fleet.bind(6, devices=[device, *(fleet.device() for _ in range(5))])) == 5


def test_a_plan_that_lost_the_epoch_on_the_way_is_made_again(fleet, redis, monkeypatch):
    factories.job(factories.tenant())
    services.plan(now=NOW)
    prepare = planning.prepare
    wipes = [redis.flushall]

    def prepare_and_wipe(begun, *, now):
        publication = prepare(begun, now=now)
        if wipes:
            wipes.pop()()
            fleet.register()
        return publication

    monkeypatch.setattr(planning, "prepare", prepare_and_wipe)
    assert list(services.plan(now=NOW).open.values()) == [6]


def test_a_grant_under_way_is_not_offered_twice(fleet):
    factories.job(factories.tenant())
    services.plan(now=NOW)
    fleet.bind(2, commit=False)
    assert list(services.plan(now=NOW).open.values()) == [4]


def test_jobs_of_paused_and_waiting_keep_their_groups_but_get_no_device(fleet):
    tenant = factories.tenant()
    job = factories.job(tenant)
    factories.job(tenant, admitted=False, constraints__public={"memory_mb": 512})
    before = services.plan(now=NOW)
    job_services.pause(job_id=job.id, actor="test", now=NOW)
    after = services.plan(now=NOW)
    assert (before.groups, len(selectors.constraint_groups().groups)) == (after.groups, 2)
    assert after.open == {}


def test_devices_below_a_constraint_are_planned_to_get_nothing(fleet):
    factories.job(factories.tenant(), constraints__public={"memory_mb": 4096})
    services.plan(now=NOW)
    small = fleet.bind(1)
    large = Fleet(fleet.pool, memory_mb=8192)
    large.register()
    services.plan(now=NOW)
    assert not isinstance(small[0], str)
    assert isinstance(large.bind(1)[0], str)


def test_a_ceiling_holds_over_all_rounds_of_a_tenant(fleet):
    tenant, other = factories.tenant(), factories.tenant()
    services.set_share(tenant_id=tenant.id, weight=1, guarantee=0, ceiling=3, author="op", now=NOW)
    factories.job(tenant)
    factories.job(tenant, name="second")
    theirs = factories.job(other, now=later(9), name="theirs")
    services.plan(now=NOW)
    answers = fleet.bind(12)
    assert (bound_to(theirs, answers), sum(isinstance(one, str) for one in answers)) == (6, 9)
    services.plan(now=NOW)
    assert not any(isinstance(one, str) for one in fleet.bind(2))


def test_what_a_tenant_does_not_lend_is_left_to_it_while_it_asks_for_nothing(fleet):
    keeper, other = factories.tenant(), factories.tenant()
    services.set_share(
        tenant_id=keeper.id, weight=1, guarantee=5, ceiling=None, lending_limit=1, author="op",
        now=NOW,
    )  # fmt: skip
    theirs = factories.job(other)
    services.plan(now=NOW)  # the heartbeat is counted under the groups of this plan
    beat(theirs, idle=8)
    services.plan(now=NOW)
    answers = fleet.bind(8)
    assert sum(isinstance(one, str) for one in answers) == 4
    mine = factories.job(keeper, now=later(1), name="mine")
    services.plan(now=later(1))
    assert bound_to(mine, fleet.bind(4)) == 4


def beat(job, *, idle):
    group = Group.of(job.spec["effective"]).id

    async def inside(door):
        groups = await door.groups()
        await door.heartbeat(
            "one", groups_version=groups.version, sockets=idle, idle={group: idle}, busy={}
        )

    run(inside)


def test_a_change_of_policy_is_in_the_next_plan_and_in_the_history(fleet):
    tenant = factories.tenant()
    large = factories.job(tenant, rounds__demand=20, name="large")
    small = factories.job(tenant, now=later(5), name="small")
    choose(policy="fifo")
    services.plan(now=later(6))
    assert bound_to(large, fleet.bind(1)) == 1
    choose(policy="srsf", parameters={"max_wait_s": 1000})
    services.plan(now=later(6))
    assert bound_to(small, fleet.bind(1)) == 1
    assert selectors.plan_state().policy == "srsf"
    assert [row.name for row in SharingPolicy.objects.order_by("-id")][:2] == ["srsf", "fifo"]
    assert AuditEntry.objects.filter(action="policy.set", actor="op").count() == 2


def choose(policy, reason="try it", parameters=None):
    return services.set_policy(
        name=policy, parameters=parameters or {}, author="op", reason=reason, now=NOW
    )


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"policy": "venn"}, "name"),
        ({"policy": "fifo", "parameters": {"speed": 1}}, "speed"),
        ({"policy": "fifo", "reason": " "}, "reason"),
    ],
)
def test_a_choice_that_cannot_work_is_refused_and_leaves_nothing(arguments, field):
    before = SharingPolicy.objects.count()
    with pytest.raises(services.PolicyInvalid) as caught:
        choose(**arguments)
    assert field in caught.value.errors
    assert SharingPolicy.objects.count() == before


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"weight": 0}, "weight"),
        ({"guarantee": -1}, "guarantee"),
        ({"ceiling": 1}, "ceiling"),
        ({"lending_limit": 3}, "lending_limit"),
        ({"lending_limit": -1}, "lending_limit"),
    ],
)
def test_a_share_that_makes_no_sense_is_refused(wrong, field):
    values = {"weight": 1, "guarantee": 2, "ceiling": None, **wrong}
    with pytest.raises(services.ShareInvalid) as caught:
        services.set_share(tenant_id=factories.tenant().id, author="op", now=NOW, **values)
    assert field in caught.value.errors


def test_a_policy_row_of_another_release_does_not_stop_the_planner(fleet):
    SharingPolicy.objects.create(name="gone", reason="", author="op", created_at=NOW)
    factories.job(factories.tenant())
    services.plan(now=NOW)
    assert selectors.plan_state().policy == selectors.DEFAULT_POLICY


def test_check_ins_are_counted_by_profile(fleet, redis):
    run(lambda door: door.count_check_ins({fleet.profile.key: 30}))
    run(lambda door: door.count_check_ins({fleet.profile.key: 30}))
    from scheduling import supply

    supply._rates.cache_clear()
    rates = supply.check_in_rates(3_600)
    supply._rates.cache_clear()
    assert 0.5 <= rates[fleet.profile.key] <= 1.0
    assert {redis.ttl(key) > 0 for key in redis.keys(keys.P + "supply:*")} == {True}


def test_a_policy_is_told_what_jobs_and_tenants_have_had(fleet, monkeypatch):
    """Five devices for 10 s each in the first round, of which one failed; then 2 days pass."""
    tenant = factories.tenant()
    job = factories.job(tenant, rounds__demand=5, rounds__over_selection=1.2)
    services.plan(now=NOW)
    fleet.bind(6)
    rows = list(job.rounds.get().assignments.all())
    for row in rows[1:]:
        job_services.accept(assignment_id=row.id, device_id=row.device_id, now=later(1))
    mine = {"assignment_id": rows[0].id, "device_id": rows[0].device_id}
    job_services.give_back(**mine, status="failed", code="x", message="", now=later(4))
    for row in rows[1:]:
        job_services.report(assignment_id=row.id, device_id=row.device_id, now=later(10))
    job_services.complete_round(
        round_id=rows[0].round_id, parameters_digest="b" * 64, parameters_size=1, version=1,
        metrics={}, now=later(11),
    )  # fmt: skip
    assert learning.learn(now=later(20)) == 1
    seen = []
    policy = policies.make("fifo", {})
    plan = policy.plan
    monkeypatch.setattr(
        planning, "active",
        lambda: SimpleNamespace(name="fifo", plan=lambda one: seen.append(one) or plan(one)),
    )  # fmt: skip
    services.plan(now=later(10 + 2 * 86_400))
    (found,) = seen[-1].rounds
    assert (found.workload_s, found.attained_s) == (10, 54)
    assert (found.scheduling_s, found.response_s) == (0, 10)
    assert found.median_s == pytest.approx(10, rel=0.1)
    assert found.p95_s == pytest.approx(10, rel=0.2)
    assert (found.quorum, found.bound) == (5, 0)
    assert found.deadline_at == later(11 + 10 + 20).timestamp()
    (share,) = seen[-1].shares.values()
    # What is two half-lives old counts a quarter.
    assert share.used_s == pytest.approx(54 / 4, rel=0.001)


def test_the_past_is_read_anew_after_some_seconds_only(fleet, django_assert_num_queries):
    job = factories.job(factories.tenant())
    known = history.History()
    with django_assert_num_queries(1):
        for second in (0, 5, 14):
            known.jobs([job.id], now=later(second))
            known.used_s([job.tenant_id], now=later(second))
    learnt(job, rounds=1)
    assert known.jobs([job.id], now=later(14))[job.id].attained_s == 0
    with django_assert_num_queries(0):
        assert known.jobs([job.id], now=later(15))[job.id].attained_s == 30


def learnt(job, *, rounds):
    """Have rounds of six devices, 5 s each, close one after the other, and learn from them."""
    pool = factories.pool(None, f"{job.tenant.slug}-pool")
    devices = [factories.device(pool) for _ in range(6)]
    for number in range(rounds):
        at = 10.0 * number
        row = job.rounds.get(number=number + 1)
        bindings = [job_services.Binding(uuid4(), row.id, one.id, 1) for one in devices]
        job_services.assign(bindings=bindings, now=later(at))
        for one in bindings:
            mine = {"assignment_id": one.assignment_id, "device_id": one.device_id}
            job_services.accept(**mine, now=later(at + 1))
            job_services.report(**mine, now=later(at + 5))
        job_services.complete_round(
            round_id=row.id, parameters_digest="b" * 64, parameters_size=1, version=number + 1,
            metrics={}, now=later(at + 6),
        )  # fmt: skip
        learning.learn(now=later(at + 9))


def test_each_closed_round_is_learnt_from_once_and_all_again_when_redis_was_emptied(redis):
    job = factories.job(factories.tenant(), rounds__count=9)
    learnt(job, rounds=3)
    before = learning.read([job.id])[job.id]
    assert (before.attained_s, before.workload_s) == (90, 5)
    assert learning.learn(now=later(60)) == 0
    redis.flushall()
    assert learning.read([job.id]) == {}
    assert learning.learn(now=later(61)) == 1
    after = learning.read([job.id])[job.id]
    assert after == before
    assert after.median_s == pytest.approx(5, rel=0.1)


def test_one_sweep_learns_at_a_time(redis):
    redis.set(keys.LEARNING, "1")
    assert learning.learn(now=NOW) == 0
    assert not redis.exists(keys.LEARNT)


def test_a_plan_does_not_look_at_finished_assignments(fleet):
    job = factories.job(factories.tenant())
    learnt(job, rounds=1)
    services.plan(now=later(30))
    with CaptureQueriesContext(connection) as few:
        services.plan(now=later(31))
    assert not any("ended_at" in one["sql"] for one in few.captured_queries)
