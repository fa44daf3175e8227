"""Jobs over REST: submit, list, show, steer; and every way to get it wrong."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from core import knobs
from jobs import services
from jobs.models import Artifact, Job
from tenants import idempotency
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    """No planner runs here, so admission never comes: do not wait for it."""
    monkeypatch.setenv("PROPIUS_ADMISSION_WAIT_S", "0.01")
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


@pytest.fixture
def call(client):
    acme, other = factories.tenant("acme"), factories.tenant("other")
    factories.pool(None, "everybody")
    factories.parameters(acme)
    secrets = {
        "owner": factories.token(acme),
        "colleague": factories.token(acme),
        "viewer": factories.token(acme, "jobs:read"),
        "stranger": factories.token(other),
    }

    def call(who, method, path, body=None, **headers):
        if who in secrets:
            headers["Authorization"] = f"Bearer {secrets[who]}"
        return getattr(client, method)(
            f"/api/v1/{path}", body, content_type="application/json", headers=headers
        )

    return call


def test_it_takes_a_job_and_shows_it_to_its_tenant_only(call):
    made = call("owner", "post", "jobs", factories.spec())
    assert made.status_code == 201
    path = f"jobs/{made.json()['id']}"
    assert made.headers["Location"] == f"/api/v1/{path}"
    shown = call("viewer", "get", path).json()
    assert (shown["status"], shown["waiting"]["code"]) == ("submitted", "waiting_for_admission")
    assert shown["spec"]["rounds"]["quorum"] == 0.8
    assert call("stranger", "get", path).status_code == 404
    assert call("nobody", "get", path).status_code == 401
    for action in ("cancel", "pause", "resume"):
        assert call("stranger", "post", f"{path}/{action}").status_code == 404
        assert call("viewer", "post", f"{path}/{action}").status_code == 403
    assert call("stranger", "get", f"{path}/rounds").status_code == 404
    assert call("stranger", "get", "jobs").json()["results"] == []
    assert call("viewer", "post", "jobs", factories.spec()).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_it_answers_a_replay_with_the_first_job(call):
    first = call("owner", "post", "jobs", factories.spec(), **{"Idempotency-Key": "k1"})
    again = call("owner", "post", "jobs", factories.spec(), **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = call("owner", "post", "jobs", factories.spec(name="other"), **{"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    long = call("owner", "post", "jobs", factories.spec(), **{"Idempotency-Key": "k" * 101})
    assert "Idempotency-Key" in long.json()["errors"]
    with system_scope():
        assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_another_callers_equal_key_is_another_job(call):
    answers = [
        call(who, "post", "jobs", factories.spec(), **{"Idempotency-Key": "k1"})
        for who in ("owner", "colleague")
    ]
    assert [one.status_code for one in answers] == [201, 201]
    assert len({one.json()["id"] for one in answers}) == 2


@pytest.mark.django_db(transaction=True)
def test_a_key_is_free_again_once_its_answer_is_forgotten(call):
    key = {"Idempotency-Key": "k1"}
    first = call("owner", "post", "jobs", factories.spec(), **key)
    with system_scope():
        idempotency.sweep(now=timezone.now() + timedelta(seconds=knobs.get().idempotency_s + 1))
    for body in (factories.spec(name="other"), factories.spec(name="other")):
        again = call("owner", "post", "jobs", body, **key)
        assert (again.status_code, again.json()["name"]) == (201, "other")
    assert again.json()["id"] != first.json()["id"]


@pytest.mark.django_db(transaction=True)
def test_a_replay_is_answered_while_the_first_still_waits_for_admission(call, monkeypatch):
    monkeypatch.setenv("PROPIUS_ADMISSION_WAIT_S", "60")
    knobs.get.cache_clear()
    answers = []

    def submit():
        try:
            key = {"Idempotency-Key": "k1"}
            answers.append(call("owner", "post", "jobs", factories.spec(), **key))
        finally:
            connection.close()

    first = threading.Thread(target=submit)
    first.start()
    while not (jobs := found()):
        assert first.is_alive()
    submit()  # the same again
    assert first.is_alive()
    assert answers[0].headers["Idempotency-Replayed"] == "true"
    with system_scope():
        services.admit(job_id=jobs[0].id, numbers={}, now=NOW)
    first.join()
    assert [one.status_code for one in answers] == [201, 201]
    assert [one.json()["status"] for one in answers] == ["submitted", "running"]
    submit()
    assert answers[2].json() == answers[1].json()
    assert len(found()) == 1


def found():
    with system_scope():
        return list(Job.objects.all())


BAD = [
    ({"colour": "blue"}, "colour", "unknown field"),
    ({"rounds__pace": 3}, "rounds.pace", "unknown field"),
    ({"rounds__count": "ten"}, "rounds.count", "'ten'"),
    ({"rounds__demand": -8}, "rounds.demand", "-8"),
    ({"rounds__quorum": 1.5}, "rounds.quorum", "1.5"),
    ({"rounds__min_cohort": 2}, "rounds.min_cohort", "floor of 5"),
    ({"rounds__min_cohort": 7}, "rounds.min_cohort", "above rounds.demand"),
    ({"schema": 2}, "schema", "2"),
    ({"parameters": "abc"}, "parameters", "abc"),
    ({"workload__kind": "pickle"}, "workload.kind", "allowed: program, handler"),
    ({"constraints__public": {"shoe_size": 43}}, "constraints.public.shoe_size", "known are"),
    ({"constraints__public": {"cpu_score": "x"}}, "constraints.public.cpu_score", "'x'"),
    ({"constraints__public": {"os": 3}}, "constraints.public.os", "use in"),
    (
        {"constraints__public": {"cpu_score": {"min": 3, "max": 2}}},
        "constraints.public.cpu_score",
        "above max",
    ),
    (
        {"constraints__public": {"cores": 1}, "constraints__private": {"cores": 1}},
        "constraints.private.cores",
        "also a public",
    ),
    ({"pools": ["nowhere"]}, "pools.0", "everybody"),
    ({"evaluation": {"every": 1, "demand": 2}}, "evaluation.demand", "least cohort of 5"),
]


@pytest.mark.django_db(transaction=True)
def test_it_names_the_field_and_what_is_allowed(call):
    for changes, field, text in BAD:
        answer = call("owner", "post", "jobs", factories.spec(**changes))
        assert (answer.status_code, answer.json()["code"]) == (422, "spec_invalid"), field
        assert text in answer.json()["errors"].get(field, answer.json()["errors"])
    with system_scope():
        assert Job.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_it_refuses_what_was_not_uploaded_or_did_not_pass(call):
    unknown = call("owner", "post", "jobs", factories.spec(parameters="b" * 64))
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_artifact")
    assert "parameters" in unknown.json()["errors"]
    program = {"kind": "program", "program": "c" * 64, "dataset": "digits"}
    _artifact("c" * 64, "invalid", errors={"train.json": "op aten::foo is not allowed"})
    refused = call("owner", "post", "jobs", factories.spec(workload=program))
    assert "aten::foo" in refused.json()["errors"]["workload.program"]


def test_it_refuses_parameters_that_the_program_does_not_expect(call):
    _artifact("d" * 64, "valid", tensors={"weight": {"shape": [3, 2], "dtype": "F32"}})
    program = {"kind": "program", "program": "d" * 64, "dataset": "digits"}
    answer = call("owner", "post", "jobs", factories.spec(workload=program))
    assert answer.json()["code"] == "parameters_mismatch"
    fault = answer.json()["errors"]["parameters.weight"]
    assert fault == "is F32[2, 2], the program expects F32[3, 2]"


@pytest.mark.parametrize("body", ['{"schema": 1,', "[1, 2]", '"job"'])
def test_it_refuses_what_is_no_object(client, body):
    headers = {"Authorization": f"Bearer {factories.token(factories.tenant())}"}
    answer = client.post("/api/v1/jobs", body, content_type="application/json", headers=headers)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_it_steers_a_running_job(call):
    job = _running()
    assert call("owner", "post", f"jobs/{job.id}/pause").json()["status"] == "paused"
    twice = call("owner", "post", f"jobs/{job.id}/pause")
    assert (twice.status_code, twice.json()["code"]) == (409, "wrong_state")
    assert call("owner", "post", f"jobs/{job.id}/resume").json()["status"] == "running"
    ended = call("owner", "post", f"jobs/{job.id}/cancel").json()
    assert (ended["status"], ended["outcome"]) == ("finished", "cancelled")


@pytest.mark.django_db(transaction=True)
def test_it_lists_with_filters_and_shows_rounds(call, django_assert_max_num_queries):
    running = _running(name="first")
    _running(name="second")
    assert len(call("viewer", "get", "jobs?status=running").json()["results"]) == 2
    named = call("viewer", "get", "jobs?name=FIR").json()["results"]
    assert [one["id"] for one in named] == [str(running.id)]
    wrong = call("viewer", "get", "jobs?status=sleeping")
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["status"])
    rounds = call("viewer", "get", f"jobs/{running.id}/rounds").json()["results"]
    assert [(one["number"], one["status"]) for one in rounds] == [(1, "selecting")]
    with django_assert_max_num_queries(14):
        call("viewer", "get", "jobs")


def test_it_pages_by_cursor_without_gaps_or_repeats(call):
    made = [str(_running(name=f"job {number}").id) for number in range(5)]
    seen, path = [], "jobs?page_size=2"
    while path:
        page = call("viewer", "get", path).json()
        seen += [one["id"] for one in page["results"]]
        path = page["next"] and page["next"].split("/api/v1/")[1]
    assert seen == made[::-1]


def test_the_schema_describes_every_path(client):
    answer = client.get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert b"/api/v1/jobs/{job_id}/cancel" in answer.content


def _running(**changes) -> Job:
    from tenants.models import Tenant

    with system_scope():
        acme = Tenant.objects.get(slug="acme")
        return factories.job(acme, **changes)


def _artifact(digest, status, *, tensors=None, errors=None):
    from tenants.models import Tenant

    with system_scope():
        services.register_artifact(
            tenant_id=Tenant.objects.get(slug="acme").id, kind=Artifact.Kind.PROGRAM,
            digest=digest, size_bytes=1, status=status, tensors=tensors or {},
            errors=errors or {}, now=NOW,
        )  # fmt: skip


def test_it_clones_a_job_with_changes(call):
    source = _running(name="first")
    made = call("owner", "post", f"jobs/{source.id}/clone", {"name": "second", "priority": 3})
    assert made.status_code == 201
    body = made.json()
    assert (body["name"], body["priority"], body["status"]) == ("second", 3, "submitted")
    assert made.headers["Location"] == f"/api/v1/jobs/{body['id']}"
    same = call("owner", "post", f"jobs/{source.id}/clone").json()
    assert (same["name"], same["spec"]["rounds"]) == ("first", body["spec"]["rounds"])
    assert len({str(source.id), body["id"], same["id"]}) == 3


@pytest.mark.django_db(transaction=True)
def test_it_clones_once_for_a_key_and_only_what_is_the_callers(call):
    path = f"jobs/{_running().id}/clone"
    first = call("owner", "post", path, {"name": "x"}, **{"Idempotency-Key": "k1"})
    again = call("owner", "post", path, {"name": "x"}, **{"Idempotency-Key": "k1"})
    assert first.json() == again.json()
    wrong = call("owner", "post", path, {"colour": "blue"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "spec_invalid")
    assert call("stranger", "post", path).status_code == 404
    assert call("viewer", "post", path).status_code == 403
