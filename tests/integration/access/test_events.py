"""A job's events as a stream: resumes where it broke off, ends, and is bounded."""

import asyncio
import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.utils import timezone

from core import events as core_events
from core import knobs
from core.models import Event
from jobs import services
from jobs.api import events
from tenants import services as tenant_services
from tenants.models import ApiToken, Tenant
from tenants.scopes import system_scope
from tests.integration import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world():
    acme = factories.tenant()
    job = factories.job(acme)
    return job, {"Authorization": f"Bearer {factories.token(acme)}"}


def path(job, query=""):
    return f"/api/v1/jobs/{job.id}/events{query}"


def parsed(body):
    found = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in lines:
            found.append((lines.get("id"), lines["event"], json.loads(lines["data"])))
    return found


async def read(address, headers, **more):
    answer = await AsyncClient().get(address, headers=headers | more)
    if not answer.streaming:
        return answer, []
    return answer, parsed(b"".join([chunk async for chunk in answer]))


def test_it_tells_what_happened_and_resumes_after_the_last(world):
    job, headers = world
    answer, told = async_to_sync(read)(path(job, "?follow=false"), headers)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert [kind for _, kind, _ in told][:2] == ["job.submitted", "job.admitted"]
    assert all(str(body["id"]) == number for number, _, body in told)
    first = told[0][0]
    _, rest = async_to_sync(read)(path(job, "?follow=false"), headers, **{"Last-Event-ID": first})
    assert rest == told[1:]
    accepted = {"Accept": "text/event-stream"}
    answer, _ = async_to_sync(read)(path(job, "?follow=false"), headers | accepted)
    assert answer.status_code == 200


def test_it_follows_until_the_job_has_ended_and_then_says_so(world, monkeypatch):
    job, headers = world
    monkeypatch.setattr(events, "POLL_S", 0.05)
    monkeypatch.setattr(core_events, "SETTLED", timedelta(0))

    def cancel():
        with system_scope():
            services.cancel(job_id=job.id, actor="x", now=timezone.now())

    async def follow():
        reading = asyncio.create_task(read(path(job), headers))
        async with asyncio.timeout(20):
            while events._open.total() != 1:
                assert not reading.done()
                await asyncio.sleep(0.01)
        from channels.db import database_sync_to_async

        await database_sync_to_async(cancel, thread_sensitive=False)()
        return await asyncio.wait_for(reading, 20)

    _, told = async_to_sync(follow)()
    assert told[-1][1] == "job.cancelled"
    assert not events._open
    last = {"Last-Event-ID": told[-1][0]}
    answer, _ = async_to_sync(read)(path(job), headers, **last)
    assert answer.status_code == 204


@pytest.mark.parametrize("kind", ["token", "member"])
def test_it_ends_soon_after_its_reader_may_no_longer(world, monkeypatch, kind):
    job, headers = world
    monkeypatch.setattr(events, "POLL_S", 0.05)
    monkeypatch.setattr(events, "CHECK_S", 0.05)
    browser = AsyncClient()
    if kind == "member":
        with system_scope():
            user = factories.member(Tenant.objects.get(id=job.tenant_id), "viewer")
        headers = {}
        browser.force_login(user)

    def shut_out():
        with system_scope():
            if kind == "token":
                token = ApiToken.objects.get(tenant_id=job.tenant_id)
                tenant_services.revoke_token(
                    tenant_id=job.tenant_id, token_id=token.id, actor="x", now=timezone.now()
                )
            else:
                user.memberships.all().delete()

    async def follow():
        answer = await browser.get(path(job), headers=headers)
        body = aiter(answer)
        assert await anext(body) == b"retry: 2000\n\n"
        await asyncio.to_thread(shut_out)
        async with asyncio.timeout(20):
            async for _ in body:
                pass

    async_to_sync(follow)()
    assert not events._open


def test_one_that_was_numbered_first_and_committed_later_is_not_lost(world, monkeypatch):
    job, _ = world
    monkeypatch.setattr(core_events, "SETTLED", timedelta(0))
    reader = events.Reader(job.tenant_id, job.id, 0)
    reader.read()
    now = timezone.now()
    with system_scope():
        core_events.append("job.paused", now=now, tenant_id=job.tenant_id, job_id=job.id)
        late = Event.objects.latest("id")
        number, late.id = late.id, None
        Event.objects.filter(id=number).delete()
        core_events.append("job.resumed", now=now, tenant_id=job.tenant_id, job_id=job.id)
    assert [one.splitlines()[1] for one in reader.read()[0]] == ["event: job.resumed"]
    with system_scope():
        late.id = number
        late.save(force_insert=True)
    told, _ = reader.read()
    assert [one.splitlines()[0] for one in told] == ["event: job.paused"]  # and no id: it is older
    assert reader.read()[0] == []


@pytest.mark.parametrize("batch", [1, 2])
def test_one_that_does_not_follow_is_told_all_though_it_is_more_than_is_read_at_once(
    world, monkeypatch, batch
):
    job, headers = world
    _, everything = async_to_sync(read)(path(job, "?follow=false"), headers)
    assert len(everything) > 2
    monkeypatch.setattr(events, "BATCH", batch)
    _, told = async_to_sync(read)(path(job, "?follow=false"), headers)
    assert [number for number, _, _ in told] == [number for number, _, _ in everything]


def test_of_a_full_batch_the_young_are_read_again_unless_all_of_it_is_young():
    now = timezone.now()
    old, young = now - core_events.OVERLAP * 2, now - core_events.SETTLED * 2
    batch = [Event(id=number, at=at) for number, at in enumerate([old, old, young, young], 1)]
    assert core_events.done_up_to(batch, now=now, limit=4) == 2
    assert core_events.done_up_to(batch[2:], now=now, limit=2) == 4
    assert core_events.done_up_to(batch[2:], now=now, limit=3) is None


def test_the_newest_are_held_back_until_they_are_settled(world):
    job, _ = world
    reader = events.Reader(job.tenant_id, job.id, 0)
    before = len(reader.read()[0])
    with system_scope():
        core_events.append("job.paused", now=timezone.now(), tenant_id=job.tenant_id, job_id=job.id)
    assert (before > 0, reader.read()[0]) == (True, [])


def test_devices_are_told_by_pseudonym(world):
    job, _ = world
    device = factories.device(factories.pool())
    event = Event(kind="assignment.failed", job_id=job.id, device_id=device.id, at=timezone.now())
    shown = events.as_json(event, job.tenant_id, is_open=False)
    assert shown["device"].startswith("d-")
    assert str(device.id) not in json.dumps(shown)


@pytest.mark.parametrize("owns", [False, True])
def test_why_a_device_declined_is_told_to_its_owner_alone(owns, monkeypatch):
    monkeypatch.setattr(core_events, "SETTLED", timedelta(0))
    tenant = factories.tenant()
    pool = factories.pool(tenant if owns else None)
    job = factories.job(tenant)
    with system_scope():
        job.spec["effective"]["pools"] = [str(pool.id)]
        job.save()
        core_events.append(
            "assignment.declined", now=timezone.now(), tenant_id=tenant.id, job_id=job.id,
            code="consent",
        )  # fmt: skip
    told, _ = events.Reader(tenant.id, job.id, 0).read()
    [(_, kind, body)] = parsed(told[-1].encode())
    assert (kind, body["data"]) == ("assignment.declined", {"code": "consent"} if owns else {})


def test_streams_are_bounded_by_tenant_and_in_all(world, client, monkeypatch):
    job, headers = world
    monkeypatch.setenv("PROPIUS_EVENT_STREAMS", "10")
    knobs.get.cache_clear()
    try:
        monkeypatch.setitem(events._open, job.tenant_id, 1)
        mine = client.get(path(job), headers=headers)
        assert (mine.status_code, mine.json()["code"]) == (429, "streams_in_use")
        assert mine.headers["Retry-After"] == "10"
        monkeypatch.setitem(events._open, job.tenant_id, 10)
        full = client.get(path(job), headers=headers)
        assert (full.status_code, full.json()["code"]) == (503, "no_stream_free")
    finally:
        knobs.get.cache_clear()


@pytest.mark.parametrize(
    "query",
    ["kind=job.paused,round.opened", "kind=round.opened&kind=job.paused", "kind=job.paused,"],
)
def test_it_tells_of_the_kinds_that_are_asked_for_only(world, query):
    job, headers = world
    with system_scope():
        now = timezone.now() - core_events.OVERLAP * 2
        for kind in ("job.paused", "job.resumed"):
            core_events.append(kind, now=now, tenant_id=job.tenant_id, job_id=job.id)
    _, everything = async_to_sync(read)(path(job, "?follow=false&kind="), headers)
    _, told = async_to_sync(read)(path(job, f"?follow=false&{query}"), headers)
    assert told
    assert told == [one for one in everything if one[1] in query]
    assert "job.resumed" in {kind for _, kind, _ in everything}


def test_who_asks_for_some_kinds_does_not_look_through_the_others_again(world, monkeypatch):
    job, _ = world
    monkeypatch.setattr(core_events, "SETTLED", timedelta(0))
    reader = events.Reader(job.tenant_id, job.id, 0, ("job.paused",))
    with system_scope():
        old = timezone.now() - core_events.OVERLAP * 2
        Event.objects.filter(job_id=job.id).update(at=old)
        last = Event.objects.filter(job_id=job.id).latest("id").id
        core_events.append(
            "job.resumed", now=timezone.now(), tenant_id=job.tenant_id, job_id=job.id
        )
    assert reader.read() == ([], False)
    assert reader.floor == last  # what is young may yet get a neighbour with a smaller number
    with system_scope():
        core_events.append("job.paused", now=timezone.now(), tenant_id=job.tenant_id, job_id=job.id)
    assert ["event: job.paused" in one for one in reader.read()[0]] == [True]
    assert reader.read()[0] == []


def test_a_job_that_has_ended_has_no_stream_of_kinds_that_it_never_had(world):
    job, headers = world
    with system_scope():
        services.cancel(job_id=job.id, actor="x", now=timezone.now() - timedelta(minutes=1))
    answer, told = async_to_sync(read)(path(job, "?kind=job.rejected"), headers)
    assert (answer.status_code, told) == (204, [])


def test_an_unknown_kind_is_named_with_those_that_there_are(world, client):
    job, headers = world
    answer = client.get(path(job, "?kind=job.paused,job.danced"), headers=headers)
    assert answer.status_code == 400
    fault = answer.json()["errors"]["kind"]
    assert "'job.danced'" in fault
    assert "round.opened" in fault


@pytest.mark.parametrize("wrong", ["x", "-1", "9" * 30, "1.5"])
def test_it_names_a_wrong_place_to_resume_at(world, client, wrong):
    job, headers = world
    answer = client.get(path(job), headers=headers | {"Last-Event-ID": wrong})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["Last-Event-ID"])
    assert client.get(path(job, "?follow=maybe"), headers=headers).status_code == 400
