"""Admission: what is checked, counted and said before a job starts; and the sweep around it."""

import pytest

from aggregation.models import Blob
from clients.models import Device, Pool
from core import knobs
from core.ids import uuid7
from jobs import selectors
from jobs import services as job_services
from jobs.models import Artifact, Assignment, Job
from scheduling import admission, keys, quotas, services
from tenants.models import AuditEntry
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later

PROGRAM = "b" * 64


@pytest.fixture(autouse=True)
def system():
    """The sweep works as the system role."""
    with system_scope():
        yield


@pytest.fixture
def refusing(monkeypatch):
    monkeypatch.setenv("PROPIUS_ADMISSION", "refuse")
    knobs.get.cache_clear()
    yield
    monkeypatch.delenv("PROPIUS_ADMISSION")
    knobs.get.cache_clear()


def submitted(tenant=None, **changes):
    return factories.job(tenant or factories.tenant(), admitted=False, **changes)


def a_fleet(count=6, **attributes):
    pool = Pool.objects.filter(name="everybody").first() or factories.pool(None, "everybody")
    return [factories.device(pool, **attributes) for _ in range(count)]


def quota(of, **bounds):
    return services.set_quota(
        tenant_id=of.id, author="op", reason="trial", now=NOW,
        **{"jobs": None, "devices": None, "device_hours": None, "stored_bytes": None, **bounds},
    )  # fmt: skip


def decide(job, at=NOW):
    decision = admission.admit(job_id=job.id, now=at)
    job.refresh_from_db()
    return decision


def with_program(status, tensors=None, errors=None):
    tenant = factories.tenant()
    a_fleet(6)
    job_services.register_artifact(
        tenant_id=tenant.id, kind=Artifact.Kind.PROGRAM, digest=PROGRAM, size_bytes=9,
        status=Artifact.Status.CHECKING, tensors={}, errors={}, now=NOW,
    )  # fmt: skip
    workload = {"kind": "program", "program": PROGRAM, "dataset": "digits"}
    job = submitted(tenant, workload=workload)
    Artifact.objects.filter(digest=PROGRAM).update(
        status=status, tensors=tensors or {}, errors=errors or {}
    )
    return job


def test_it_admits_with_the_numbers_of_eligible_devices():
    seen = [*a_fleet(1, memory_mb=256), *a_fleet(9, memory_mb=512)]
    job = submitted(constraints__public={"memory_mb": 512})
    Device.objects.filter(id=seen[1].id).update(status=Device.Status.REVOKED)
    Device.objects.filter(id=seen[2].id).update(seen_at=later(-30))
    Device.objects.filter(id=seen[3].id).update(seen_at=later(-300))
    Device.objects.filter(id=seen[4].id).update(seen_at=later(-2 * 86_400))
    factories.device(factories.pool(factories.tenant()), memory_mb=4096)
    assert decide(job) == "admitted"
    assert job.status == Job.Status.RUNNING
    assert job.reason == {
        "code": "admitted", "known": "5 to 8", "day": "5 to 8", "online": "<5",
        "demand": 6, "least": 6, "granted": 6,
    }  # fmt: skip
    assert admission.admit(job_id=job.id, now=NOW) == "decided"


def test_it_grants_what_is_there_and_tells_it_as_it_tells_what_fits():
    a_fleet(2, memory_mb=256)
    a_fleet(8, memory_mb=512)
    job = submitted(rounds__demand=20, rounds__min_demand=6, constraints__public={"memory_mb": 512})
    assert decide(job) == "admitted"
    assert (job.granted_demand, factories.open_round(job).demand) == (8, 8)
    assert (job.reason["day"], job.reason["granted"]) == ("6 to 9", "6 to 9")


def test_it_refuses_more_than_the_fleet_has_if_the_operator_says_so(refusing):
    a_fleet(1)
    job = submitted()
    assert decide(job) == "rejected"
    assert (job.outcome, job.reason["code"]) == (Job.Outcome.REJECTED, "too_few_devices")
    assert "asks for at least 6" in job.reason["message"]
    told = selectors.waiting(job).numbers
    assert (told["day"], told["demand"]) == ("<5", 6)
    assert "<5 devices that meet the constraints" in job.reason["message"]


def test_of_a_tenants_own_devices_it_tells_every_one():
    tenant = factories.tenant()
    factories.device(factories.pool(tenant))
    job = submitted(tenant)
    assert decide(job) == "queued"
    assert (job.reason["known"], job.reason["day"]) == (1, 1)


def test_it_refuses_constraints_that_no_known_device_meets(refusing):
    a_fleet(6, memory_mb=512)
    job = submitted(constraints__public={"memory_mb": 10**9})
    assert decide(job) == "rejected"
    assert (job.reason["code"], job.reason["known"]) == ("no_device", 0)


def test_it_queues_what_the_fleet_does_not_have_and_admits_it_when_devices_come():
    a_fleet(5)
    job = submitted()
    assert decide(job) == "queued"
    waits = selectors.waiting(job)
    assert waits.code == "waiting_for_admission"
    assert "5 devices that meet the constraints" in waits.message
    assert (waits.numbers["code"], waits.numbers["day"]) == ("too_few_devices", 5)
    assert not job.rounds.exists()
    admission.admit_queued(now=NOW)
    assert Job.objects.get(id=job.id).status == Job.Status.SUBMITTED
    a_fleet(1)
    admission.admit_queued(now=NOW)
    assert Job.objects.get(id=job.id).status == Job.Status.RUNNING


def test_devices_that_were_not_there_for_a_day_do_not_count():
    for one in a_fleet(6):
        Device.objects.filter(id=one.id).update(seen_at=later(-90_000))
    job = submitted()
    assert decide(job) == "queued"
    assert (job.reason["known"], job.reason["day"]) == (6, 0)


def test_partial_admission_runs_with_fewer_and_grows_with_the_fleet():
    a_fleet(7)
    job = submitted(rounds__demand=20, rounds__min_demand=6)
    assert decide(job) == "admitted"
    round_ = factories.open_round(job)
    assert (job.granted_demand, round_.demand, round_.target, round_.quorum) == (7, 7, 7, 6)
    a_fleet(3)
    admission.admit_queued(now=NOW)
    job.refresh_from_db()
    assert (job.granted_demand, factories.open_round(job).demand) == (10, 7)
    a_fleet(30)
    admission.admit_queued(now=NOW)
    job.refresh_from_db()
    assert job.granted_demand is None


def test_partial_admission_does_not_go_below_its_minimum():
    a_fleet(5)
    job = submitted(rounds__demand=20, rounds__min_demand=6)
    assert decide(job) == "queued"
    assert (job.reason["least"], job.reason["demand"]) == (6, 20)


def test_a_tenant_past_its_jobs_waits_for_one_to_end_in_the_order_of_submission():
    a_fleet(6)
    tenant = factories.tenant()
    quota(tenant, jobs=1)
    first, second, third = (submitted(tenant, name=f"job-{n}") for n in range(3))
    assert decide(first) == "admitted"
    assert decide(second) == "queued"
    assert (second.reason["code"], second.reason["used"], second.reason["allowed"]) == (
        "quota_jobs", 1, 1,
    )  # fmt: skip
    job_services.cancel(job_id=first.id, actor="test", now=NOW)
    assert decide(third) == "queued"
    assert "1 submitted earlier wait" in third.reason["message"]
    admission.admit_queued(now=NOW)
    states = [Job.objects.get(id=one.id).status for one in (second, third)]
    assert states == [Job.Status.RUNNING, Job.Status.SUBMITTED]


def test_another_tenant_is_not_held_up_by_it():
    a_fleet(6)
    full, other = factories.tenant(), factories.tenant()
    quota(full, jobs=0)
    held, free = submitted(full), submitted(other)
    admission.admit_new(now=NOW)
    assert Job.objects.get(id=held.id).reason["code"] == "quota_jobs"
    assert Job.objects.get(id=free.id).status == Job.Status.RUNNING


def test_it_asks_for_no_more_devices_than_the_tenant_may_hold():
    a_fleet(20)
    tenant = factories.tenant()
    quota(tenant, devices=8)
    strict = submitted(tenant, rounds__demand=10)
    assert decide(strict) == "queued"
    assert (strict.reason["code"], strict.reason["allowed"]) == ("quota_devices", 8)
    partial = submitted(tenant, name="partial", rounds__demand=10, rounds__min_demand=5)
    assert decide(partial) == "admitted"
    assert factories.open_round(partial).demand == 8
    quota(tenant, devices=None)
    admission.admit_queued(now=NOW)
    assert Job.objects.get(id=strict.id).status == Job.Status.RUNNING


def test_the_months_device_hours_count_from_the_assignments():
    devices = a_fleet(6)
    tenant = factories.tenant()
    job = factories.job(tenant)
    bind(job, devices[:2])
    half_an_hour = later(1_800 + quotas.SPENT_FOR_S)  # so old may the sum be
    hours = quotas.usage(tenant.id, now=half_an_hour).device_hours
    assert 1.0 <= hours <= 1.0 + 2 * quotas.SPENT_FOR_S / 3_600
    quota(tenant, device_hours=1)
    another = submitted(tenant, name="another")
    assert decide(another, at=half_an_hour) == "queued"
    assert another.reason["code"] == "quota_device_hours"
    assert quotas.usage(tenant.id, now=later(40 * 86_400)).device_hours > 300


def test_a_month_that_is_spent_gives_no_new_device_and_takes_none_away():
    devices = a_fleet(6)
    tenant = factories.tenant()
    bind(factories.job(tenant), devices[:2])
    quota(tenant, device_hours=1)
    assert quotas.caps([tenant.id], now=NOW) == {}
    assert quotas.caps([tenant.id], now=later(3_600)) == {tenant.id: 0}
    notice = services.plan(now=later(3_600))
    assert notice.open == {}
    assert Assignment.objects.filter(status="bound").count() == 2


def test_stored_bytes_are_those_of_the_tenants_blobs():
    a_fleet(6)
    tenant = factories.tenant()
    Blob.objects.create(tenant=tenant, digest="a" * 64, size_bytes=900, created_at=NOW)
    Blob.objects.create(tenant=tenant, digest="b" * 64, size_bytes=200, created_at=NOW)
    Blob.objects.create(tenant=factories.tenant(), digest="a" * 64, size_bytes=900, created_at=NOW)
    assert quotas.usage(tenant.id, now=NOW).stored_bytes == 1_100
    quota(tenant, stored_bytes=1_000)
    job = submitted(tenant)
    assert decide(job) == "queued"
    assert (job.reason["code"], job.reason["used"]) == ("quota_stored_bytes", 1_100)


def test_a_quota_needs_a_reason_and_bounds_from_zero():
    tenant = factories.tenant()
    with pytest.raises(services.QuotaInvalid) as caught:
        services.set_quota(
            tenant_id=tenant.id, jobs=-1, devices=None, device_hours=float("nan"),
            stored_bytes=None, author="op", reason=" ", now=NOW,
        )  # fmt: skip
    assert set(caught.value.errors) == {"jobs", "device_hours", "reason"}
    quota(tenant, jobs=3)
    (entry,) = AuditEntry.objects.filter(action="quota.set")
    assert (entry.actor, entry.detail["jobs"], entry.detail["reason"]) == ("op", 3, "trial")


def bind(job, devices):
    round_ = factories.open_round(job)
    bindings = [
        job_services.Binding(uuid7(), round_.id, device.id, plan_version=1) for device in devices
    ]
    return job_services.assign(bindings=bindings, now=NOW)


def test_it_waits_for_a_check_and_admits_what_passes():
    job = with_program(Artifact.Status.CHECKING)
    assert admission.admit(job_id=job.id, now=NOW) == "waiting"
    fits = {"weight": {"shape": [2, 2], "dtype": "F32"}}
    job_services.settle_artifact(
        tenant_id=job.tenant_id, kind="program", digest=PROGRAM, status="valid", tensors=fits,
        errors={}, now=NOW,
    )  # fmt: skip
    services.sweep(now=NOW)
    job.refresh_from_db()
    assert job.status == Job.Status.RUNNING


def test_it_rejects_a_program_that_did_not_pass_with_what_the_check_found():
    job = with_program(Artifact.Status.INVALID, errors={"graph.nodes.3": "aten.mul is not allowed"})
    assert admission.admit(job_id=job.id, now=NOW) == "rejected"
    job.refresh_from_db()
    assert "workload.program.graph.nodes.3: aten.mul is not allowed" in job.reason["message"]


def test_it_rejects_parameters_that_the_program_does_not_expect():
    job = with_program(Artifact.Status.VALID, tensors={"weight": {"shape": [3, 2], "dtype": "F32"}})
    assert admission.admit(job_id=job.id, now=NOW) == "rejected"
    job.refresh_from_db()
    assert "parameters.weight" in job.reason["message"]


def test_the_sweep_admits_jobs_whose_hint_was_lost_and_plans_their_rounds(redis):
    a_fleet(6)
    job = submitted()
    services.sweep(now=NOW)
    job.refresh_from_db()
    assert job.status == Job.Status.RUNNING
    assert factories.open_round(job).id.bytes
    assert redis.hlen(keys.P + "plan:numbers") == 1


def test_after_an_outage_of_ours_no_lease_has_run_out(redis):
    device = factories.device(factories.pool(None, "everybody"))
    job = factories.job(factories.tenant())
    job_services.assign(
        bindings=[
            job_services.Binding(job.id, factories.open_round(job).id, device.id, plan_version=1)
        ],
        now=NOW,
    )
    services.sweep(now=NOW)
    redis.delete(keys.SWEEP)
    services.sweep(now=later(3_600))
    held = Assignment.objects.get(device=device)
    assert held.status == Assignment.Status.BOUND
    assert held.lease_expires_at == later(3_600 + knobs.get().lease_s)


def test_while_sweeps_are_regular_a_silent_device_loses_its_lease():
    device = factories.device(factories.pool(None, "everybody"))
    job = factories.job(factories.tenant())
    services.sweep(now=NOW)
    job_services.assign(
        bindings=[
            job_services.Binding(job.id, factories.open_round(job).id, device.id, plan_version=1)
        ],
        now=NOW,
    )
    services.sweep(now=later(11))
    assert Assignment.objects.get(device=device).status == Assignment.Status.EXPIRED


HELD_OUT = {"every": 1, "demand": 5, "fraction": 0.25}


@pytest.mark.parametrize(
    ("devices", "fraction", "told"),
    [
        (7, 0.25, "each round asks for at least 6 and about 2 of them are held out"),
        (16, 0.25, "about 4 of them are held out for evaluation, which needs at least 5"),
        (20, 0.25, ""),
        (12, 0.5, ""),
    ],
)
def test_held_out_devices_are_no_devices_for_training(devices, fraction, told):
    a_fleet(devices)
    job = submitted(evaluation=HELD_OUT | {"fraction": fraction})
    assert decide(job) == ("queued" if told else "admitted")
    if told:
        assert told in selectors.waiting(job).message
        a_fleet(20 - devices)
        admission.admit_queued(now=NOW)
        assert Job.objects.get(id=job.id).status == Job.Status.RUNNING


def test_a_partial_admission_leaves_out_those_that_are_held_out():
    a_fleet(20)
    job = submitted(rounds__demand=100, rounds__min_demand=6, evaluation=HELD_OUT)
    assert decide(job) == "admitted"
    assert job.granted_demand == 15
