"""Admission: what is checked, counted and said before a job starts; and the sweep around it."""

import pytest

from clients.models import Device
from core import knobs
from jobs import services as job_services
from jobs.models import Artifact, Assignment, Job
from scheduling import admission, keys, services
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


def with_program(status, tensors=None, errors=None):
    tenant = factories.tenant()
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
    pool = factories.pool(None, "everybody")
    job = submitted(constraints__public={"memory_mb": 512})
    seen = [factories.device(pool, memory_mb=mb) for mb in (256, 512, 1024, 2048)]
    revoked = factories.device(pool, memory_mb=4096)
    Device.objects.filter(id=revoked.id).update(status=Device.Status.REVOKED)
    Device.objects.filter(id=seen[1].id).update(seen_at=later(-30))
    Device.objects.filter(id=seen[2].id).update(seen_at=later(-300))
    factories.device(factories.pool(factories.tenant()), memory_mb=4096)
    assert admission.admit(job_id=job.id, now=NOW) == "admitted"
    job.refresh_from_db()
    assert job.status == Job.Status.RUNNING
    assert job.reason == {"code": "admitted", "known": 3, "online": 1, "demand": 6}
    assert admission.admit(job_id=job.id, now=NOW) == "decided"


def test_it_refuses_more_than_the_fleet_has_if_the_operator_says_so(refusing):
    job = submitted()
    factories.device(factories.pool(None, "everybody"))
    assert admission.admit(job_id=job.id, now=NOW) == "rejected"
    job.refresh_from_db()
    assert (job.outcome, job.reason["code"]) == (Job.Outcome.REJECTED, "too_few_devices")
    assert "asks for 6" in job.reason["message"]


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
