"""What is kept to explain and to replay: sampled plans, demand and supply by the minute."""

import json
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from jobs.constraints import Profile
from jobs.models import Round
from scheduling import keys, previews, recording, replaying, services, tasks
from scheduling.models import FleetMinute, PlanRecord, ProfileRecord
from scheduling.sharing import Terms
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import Fleet, choose, run

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def system():
    with system_scope():
        yield


@pytest.fixture
def fleet():
    fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
    fleet.register()
    return fleet


def test_plans_are_sampled_and_each_new_policy_is_kept(fleet, redis):
    factories.job(factories.tenant())
    first = services.plan(now=NOW)
    services.plan(now=NOW)
    assert list(PlanRecord.objects.values_list("version", flat=True)) == [first.version]
    choose(policy="srsf", parameters={"max_wait_s": 9})
    services.plan(now=NOW)
    newest = PlanRecord.objects.latest("version")
    assert (newest.policy, newest.parameters) == ("srsf", {"max_wait_s": 9})
    redis.delete(keys.RECORDED)  # ten seconds later
    services.plan(now=NOW)
    assert PlanRecord.objects.count() == 3
    assert 0 < redis.ttl(keys.RECORDED) <= recording.SAMPLE_S


def test_a_plan_record_shows_the_first_rounds_of_each_queue(fleet):
    choose(policy="fifo")
    tenant = factories.tenant()
    jobs = [factories.job(tenant, now=later(n), name=f"job-{n}") for n in range(12)]
    services.plan(now=later(20))
    (order,) = PlanRecord.objects.latest("version").summary["order"].values()
    assert order == [str(factories.open_round(one).id) for one in jobs[:10]]


def test_a_minute_has_its_check_ins_by_profile_and_its_rounds_with_their_constraints(fleet):
    now = timezone.now()
    job = factories.job(
        factories.tenant(), now=now, priority=3, constraints__public={"memory_mb": 512}
    )
    run(lambda door: door.count_check_ins({fleet.profile.key: 7}))
    # The minute may have ended between the two.
    assert recording.minutes(now=now + MINUTE) == 1
    recording.minutes(now=now + 2 * MINUTE)
    rows = list(FleetMinute.objects.order_by("at"))
    assert sum(row.supply.get(fleet.profile.key, 0) for row in rows) == 7
    kept = rows[0].demand
    (opened,) = kept["rounds"]
    assert (opened["job"], opened["demand"], opened["priority"]) == (str(job.id), 6, 3)
    assert kept["groups"][opened["group"]]["conditions"] == {"memory_mb": {"min": 512}}
    assert opened["after_s"] == pytest.approx(now.second + now.microsecond / 1e6, abs=0.001)
    assert recording.minutes(now=now + 2 * MINUTE) == 0
    found = ProfileRecord.objects.get(key=fleet.profile.key)
    assert Profile(**rename(found.profile)).key == fleet.profile.key


def rename(plain):
    return {"pool_id": plain["pool"]} | {
        name: value for name, value in plain.items() if name != "pool"
    }


def test_minutes_that_were_missed_are_made_up_for_up_to_an_hour():
    recording.minutes(now=later(0))
    assert recording.minutes(now=later(5 * 60)) == 5
    assert recording.minutes(now=later(10 * 3_600)) == 60


def test_plans_are_kept_for_a_day_and_minutes_for_a_week():
    for days in (0.5, 1.5):
        at = NOW - timedelta(days=days)
        PlanRecord.objects.create(version=int(days * 10), policy="fifo", at=at)
    for days in (6, 8):
        FleetMinute.objects.create(at=NOW - timedelta(days=days))
    ProfileRecord.objects.create(key="a", profile={}, seen_at=NOW - timedelta(days=9))
    recording.minutes(now=NOW)
    assert [row.version for row in PlanRecord.objects.all()] == [5]
    assert FleetMinute.objects.filter(at__lt=NOW - timedelta(days=7)).count() == 0
    assert not ProfileRecord.objects.exists()


def test_recording_takes_less_than_a_hundredth_of_the_time(redis):
    """A minute of 3 000 profiles and 300 rounds; the row itself stays below 200 kB."""
    now = timezone.now().replace(second=0, microsecond=0)
    job = factories.job(factories.tenant(), now=now)
    round_ = factories.open_round(job)
    copies = []
    for number in range(2, 302):
        copy = Round.objects.get(id=round_.id)
        copy.id, copy.number, copy.status, copy.outcome = None, number, "finished", "completed"
        copy.id = Round._meta.pk.get_default()
        copies.append(copy)
    Round.objects.bulk_create(copies)
    counts = {f"{n:016x}": 5 for n in range(3_000)}
    texts = {key: Profile({"memory_mb": n}, {}, "pool").as_json() for n, key in enumerate(counts)}
    redis.hset(keys.PROFILES, mapping=texts)
    redis.hset(keys.supply("minute", int(now.timestamp()) // 60), mapping=counts)
    recording.minutes(now=now)
    took = []
    for _ in range(3):  # the first one also keeps all profiles
        FleetMinute.objects.all().delete()
        began = time.perf_counter()
        assert recording.minutes(now=now + MINUTE) == 1
        took.append(time.perf_counter() - began)
    row = FleetMinute.objects.get()
    assert (len(row.supply), len(row.demand["rounds"])) == (3_000, 301)
    assert len(str(row.supply)) + len(str(row.demand)) < 200_000
    assert min(took) < 0.6
    print(f"recording a minute: {1e3 * took[0]:.0f} ms, then {1e3 * min(took):.0f} ms")


def recorded_hour(now):
    """Record an hour: 12 check-ins a minute, first a job of 20 rounds, then a small one."""
    fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
    fleet.register()
    tenant = factories.tenant()
    began = now - timedelta(minutes=60)
    large = factories.job(tenant, now=began, name="large", rounds__demand=30)
    small = factories.job(tenant, now=began + MINUTE, name="small")
    plain = {"attributes": {"memory_mb": 1024}, "workloads": fleet.profile.workloads}
    ProfileRecord.objects.create(
        key=fleet.profile.key, profile=plain | {"pool": str(fleet.pool.id)}, seen_at=now
    )
    groups = {large.constraint_group: large.spec["effective"]}
    for minute in range(60):
        rounds = []
        for job, numbers in ((large, 20), (small, 1)):
            if minute == (0 if job is large else 1):
                shape = {
                    "job": str(job.id), "tenant": str(tenant.id), "group": job.constraint_group,
                    "kind": "train", "demand": job.spec["rounds"]["demand"], "priority": 0,
                    "selection_s": 300, "deadline_s": 600, "after_s": 0,
                }  # fmt: skip
                rounds += [shape | {"number": number} for number in range(1, numbers + 1)]
        FleetMinute.objects.create(
            at=began + minute * MINUTE,
            supply={fleet.profile.key: 12},
            demand={"rounds": rounds, "groups": groups} if rounds else {},
        )
    return large, small


def test_a_preview_replays_what_was_recorded_under_two_policies(capsys):
    now = timezone.now()
    large, small = recorded_hour(now)
    fleet, jobs = replaying.recorded(since=now - timedelta(hours=1.1), now=now)
    assert (len(fleet.starts), [(one.id, one.rounds) for one in jobs]) == (
        720, [(str(large.id), 20), (str(small.id), 1)],
    )  # fmt: skip
    choose(policy="fifo")
    call_command("policy_preview", "srsf", "--hours", "1.1", "--json")
    found = json.loads(capsys.readouterr().out)
    present, proposed = found["present"], found["proposed"]
    assert (present["policy"], proposed["policy"]) == ("fifo", "srsf")
    assert proposed["finished"] == present["finished"] == 2
    assert proposed["mean_completion_s"] <= present["mean_completion_s"]
    assert 0 < proposed["utilisation"] < 1
    call_command("policy_preview", "srsf", "--hours", "1.1")
    assert "mean_completion_s" in capsys.readouterr().out


def test_a_preview_of_shares_compares_them_tenant_by_tenant():
    now = timezone.now()
    large, _ = recorded_hour(now)
    slug = large.tenant.slug
    asked = previews.ask(
        previews.Proposal(hours=1.1, shares={slug: Terms(guarantee=2, ceiling=5)}), now=now
    )
    assert previews.answer(asked) == previews.Asked(asked)
    tasks.preview(str(asked))
    found = previews.answer(asked).preview
    assert found == previews.preview(
        previews.Proposal(hours=1.1, shares={slug: Terms(guarantee=2, ceiling=5)}), now=now
    )
    (present,), (proposed,) = found.present.tenants, found.proposed.tenants
    assert present.tenant == proposed.tenant == slug
    assert (present.jobs, present.finished) == (2, 2)
    # Rounds of 30 take several turns under a ceiling of 5.
    assert proposed.waiting_s > present.waiting_s
    assert proposed.mean_completion_s > present.mean_completion_s
    assert found.proposed.utilisation < found.present.utilisation


def test_shares_in_force_bound_the_present_side_too():
    now = timezone.now()
    large, _ = recorded_hour(now)
    services.set_share(
        tenant_id=large.tenant_id, weight=1, guarantee=0, ceiling=5, author="op", now=now
    )
    found = previews.preview(
        previews.Proposal(hours=1.1, shares={large.tenant.slug: Terms()}), now=now
    )
    assert found.present.waiting_s > found.proposed.waiting_s


def test_a_preview_says_what_it_lacks():
    with pytest.raises(CommandError, match="no check-in or no round was recorded"):
        call_command("policy_preview", "fifo")
    with pytest.raises(CommandError, match="are allowed"):
        call_command("policy_preview", "venn")
    with pytest.raises(CommandError, match="lending_limit, weight are allowed"):
        call_command("policy_preview", "--shares", '{"acme": {"wait": 3}}')
    with pytest.raises(CommandError, match="a number is allowed"):
        call_command("policy_preview", "--shares", '{"acme": {"weight": "3"}}')
    with pytest.raises(CommandError, match="--shares is no JSON"):
        call_command("policy_preview", "--shares", "{")
    with pytest.raises(CommandError, match="a JSON object"):
        call_command("policy_preview", "--parameters", "[]")


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"hours": 0}, {"hours"}),
        ({"policy": "venn"}, {"policy"}),
        ({"parameters": {"max_wait_s": 1}}, {"parameters"}),
        (
            {"shares": {"nobody": Terms(weight=0, lending_limit=1)}},
            {"shares.nobody", "shares.nobody.weight", "shares.nobody.lending_limit"},
        ),
    ],
)
def test_a_proposal_that_makes_no_sense_is_refused_before_it_is_asked(wrong, fields):
    with pytest.raises(previews.PreviewInvalid) as caught:
        previews.ask(previews.Proposal(**wrong), now=NOW)
    assert caught.value.errors.keys() == fields


def test_a_preview_without_a_record_answers_with_the_fault():
    asked = previews.ask(previews.Proposal(), now=NOW)
    tasks.preview(str(asked))
    assert previews.answer(asked).fault.startswith("no check-in or no round was recorded")
    with pytest.raises(previews.PreviewUnknown):
        previews.answer(uuid4())
