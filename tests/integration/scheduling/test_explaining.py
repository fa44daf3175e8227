"""Why a job waits: places, devices, who is ahead and by which rule, and how long likely."""

import pytest

from frontend import explanation
from jobs import services as job_services
from jobs.constraints import Group
from scheduling import explaining, refusals, services, supply
from tenants import scopes
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import Fleet, choose, run


@pytest.fixture
def fleet():
    with scopes.system_scope():
        fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
        fleet.register()
        yield fleet
    supply._rates.cache_clear()


def beat(job, *, idle, busy):
    group = Group.of(job.spec["effective"]).id

    async def inside(door):
        groups = await door.groups()
        await door.heartbeat(
            "one", groups_version=groups.version, sockets=9,
            idle={group: idle}, busy={group: busy},
        )  # fmt: skip

    run(inside)


def explain(job, at=NOW, **options):
    job.refresh_from_db()
    return explaining.explain(job, now=at, **options)


def three_jobs(tenant, other):
    """Return mine, before it one of my own and one of another tenant, by fifo."""
    theirs = factories.job(other, name="secret")
    own = factories.job(tenant, now=later(1), name="earlier", rounds__demand=5)
    mine = factories.job(tenant, now=later(2), name="mine")
    choose(policy="fifo")
    services.plan(now=later(3))
    return theirs, own, mine


def three_jobs_then_the_app_role():
    tenant, other = factories.tenant(), factories.tenant()
    with scopes.system_scope():
        Fleet(factories.pool(None, "everybody"), memory_mb=1024).register()
        _, _, mine = three_jobs(tenant, other)
    return tenant, other, mine


def test_it_tells_the_place_and_names_only_the_readers_own_jobs(fleet):
    tenant, other = factories.tenant(), factories.tenant()
    theirs, own, mine = three_jobs(tenant, other)
    beat(mine, idle=7, busy=9)
    with scopes.scope(tenant.id):
        found = explain(mine, at=later(12))
    assert (found.code, found.needed, found.waited_s) == ("waiting_for_devices", 6, 10)
    assert (found.position, found.rounds_ahead, found.slots_ahead) == (3, 2, 11)
    assert [one.job_name for one in found.named] == ["earlier"]
    assert (found.idle, found.bound_elsewhere) == (7, 9)
    assert (found.policy, found.rule.split(":")[0]) == ("fifo", "First in, first out")
    everything = explain(mine, everything=True)
    assert [(one.job_name, one.tenant, one.slots) for one in everything.named] == [
        ("secret", other.slug, 6), ("earlier", tenant.slug, 5),
    ]  # fmt: skip
    assert explain(theirs).position == 1
    assert explain(own).slots_ahead == 6


def test_it_tells_who_is_ahead_by_priority_and_who_by_the_policy(fleet):
    tenant = factories.tenant()
    mine = factories.job(tenant, name="mine")
    factories.job(tenant, now=later(5), name="urgent", priority=5)
    choose(policy="fifo")
    services.plan(now=later(6))
    found = explain(mine)
    assert (found.position, found.ahead_by_priority) == (2, 1)
    assert [one.rule for one in found.named] == ["priority"]


def test_few_devices_are_told_to_operators_only(fleet):
    job = factories.job(factories.tenant())
    services.plan(now=NOW)
    beat(job, idle=2, busy=0)
    assert (explain(job).idle, explain(job, everything=True).idle) == (None, 2)
    assert "fewer than 5 are connected and free" in dict(explanation.facts(explain(job)))["Devices"]


def test_the_likely_wait_is_what_is_wanted_over_the_rate_of_check_ins(fleet):
    job = factories.job(factories.tenant())
    services.plan(now=NOW)
    assert explain(job).likely_s is None
    run(lambda door: door.count_check_ins({fleet.profile.key: 6, "0" * 16: 500}))
    supply._rates.cache_clear()
    rate = supply.check_in_rates(3_600)[fleet.profile.key]
    assert explain(job).likely_s == pytest.approx(6 / rate)
    beat(job, idle=2, busy=0)
    assert explain(job).likely_s == pytest.approx(6 / rate)  # or it would tell how few are free
    beat(job, idle=6, busy=0)
    assert explain(job).likely_s == 0


def test_a_ceiling_is_why_and_nobody_can_say_how_long(fleet):
    tenant, other = factories.tenant(), factories.tenant()
    services.set_share(tenant_id=tenant.id, weight=3, guarantee=0, ceiling=2, author="op", now=NOW)
    job = factories.job(tenant)
    factories.job(other, now=later(1), name="theirs")
    services.plan(now=NOW)
    fleet.bind(8)
    beat(job, idle=6, busy=8)
    part = explain(job).tenant
    assert (part.held, part.allowed, part.is_full) == (2, 2, True)
    assert (part.of_bound, part.weight) == (2 / 8, 3)
    text = dict(explanation.facts(explain(job)))
    assert text["Likely"] == "Until devices of your tenant become free."
    assert text["Your share"].startswith("2 of 2 allowed held, 25")


def refuse(job, at=NOW, **devices_by_code):
    """Let that many devices refuse the job, as gateways tell of it."""
    found = {
        (str(job.id), code.replace("__", ".")): {f"device {one}" for one in range(devices)}
        for code, devices in devices_by_code.items()
    }
    run(lambda door: refusals.note(door._redis, found, now=at))


def test_it_tells_why_devices_refused_and_of_shared_pools_no_small_counts(fleet):
    job = factories.job(factories.tenant())
    services.plan(now=NOW)
    refuse(job, dataset__x__shape=7, consent=2)
    refuse(job, dataset__x__shape=7)  # the same again
    found = explain(job)
    assert [(one.code, one.devices) for one in found.refusals] == [
        ("dataset.x.shape", 7), ("consent", None),
    ]  # fmt: skip
    assert dict(explanation.facts(found))["Refused"] == (
        "7 devices refused: their data set has another shape (dataset.x.shape); "
        "a few devices refused: their owners do not consent (consent)."
    )
    assert explain(job, everything=True).refusals[1].devices == 2


def test_it_tells_all_counts_of_pools_of_ones_own(fleet):
    tenant = factories.tenant()
    own = factories.pool(tenant, "own")
    job = factories.job(tenant, pools=[own.name])
    refuse(job, condition=1)
    assert [one.devices for one in explain(job).refusals] == [1]


def test_refusals_are_forgotten_when_neither_the_round_nor_an_hour_holds_them(fleet):
    job = factories.job(factories.tenant())
    refuse(job, condition=9)
    assert refusals.count(job.id, since=NOW, now=later(3_000))["condition"] == 9
    assert refusals.count(job.id, since=NOW, now=later(9_000))["condition"] == 9
    assert not refusals.count(job.id, since=later(8_000), now=later(9_000))
    assert not refusals.count(job.id, since=NOW, now=later(20_000))


def test_a_queued_job_tells_the_numbers_of_its_admission(fleet):
    tenant = factories.tenant()
    job = factories.job(tenant, admitted=False)
    from scheduling import admission

    admission.admit(job_id=job.id, now=NOW)
    found = explain(job, at=later(30))
    assert (found.code, found.waited_s) == ("waiting_for_admission", 30)
    assert found.numbers["code"] == "no_device"


def test_a_job_that_does_not_wait_for_devices_says_only_where_it_stands(fleet):
    tenant = factories.tenant()
    job = factories.job(tenant)
    job_services.pause(job_id=job.id, actor="test", now=NOW)
    found = explain(job)
    assert (found.code, found.needed, found.position) == ("paused", 0, None)
    assert explanation.facts(found) == []


class TestApi:
    def get(self, client, tenant, job, *scopes_):
        secret = factories.token(tenant, *scopes_)
        return client.get(
            f"/api/v1/jobs/{job.id}/explanation", headers={"Authorization": f"Bearer {secret}"}
        )

    def test_its_tenant_reads_it_and_nobody_else(self, client):
        tenant, other, mine = three_jobs_then_the_app_role()
        answer = self.get(client, tenant, mine, "jobs:read")
        assert answer.status_code == 200
        plain = answer.json()
        assert (plain["position"], plain["slots_ahead"], plain["refusals"]) == (3, 11, [])
        assert [one["job_name"] for one in plain["named"]] == ["earlier"]
        assert "secret" not in answer.content.decode()
        assert other.slug not in answer.content.decode()
        assert self.get(client, other, mine, "jobs:read").status_code == 404
        assert self.get(client, tenant, mine, "models:read").status_code == 403


def test_the_jobs_page_shows_it(client):
    tenant, _, mine = three_jobs_then_the_app_role()
    client.force_login(factories.member(tenant, "viewer"))
    page = client.get(f"/jobs/{mine.id}/").content.decode()
    assert "2 rounds ahead, with 11 open slots; of your own: earlier. Policy fifo." in page
    assert "6 more devices needed." in page
    assert "secret" not in page
