"""Live pages over the real socket application, Postgres and Valkey."""

import asyncio
import json

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError

from aggregation import under_way
from core import connections, events
from core.ids import uuid7
from frontend import consumers, live
from frontend.fragments import Topic
from jobs import services as job_services
from jobs.models import Job, Round
from tenants.models import Member
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.frontend.sockets import Page, Socket

pytestmark = pytest.mark.django_db(transaction=True)


def change(job, **fields):
    with system_scope():
        Round.objects.filter(job=job).update(**fields)
        events.changed(tenant_id=job.tenant_id, job_id=job.id, kind="test")


async def test_it_pushes_what_changed_and_only_that(world):
    page = await database_sync_to_async(Page)(world.viewer, f"/ws/jobs/{world.job.id}/")
    async with page as socket:
        first = await socket.receive()
        assert first.count('hx-swap-oob="true"') == 9
        await database_sync_to_async(change)(world.job, assigned=2)
        news = await socket.receive()
        assert "2 of 6 devices bound" in news
        assert 'id="state"' in news
        assert 'id="versions"' not in news
        assert await socket.receive_nothing(timeout=1)


async def test_it_finds_a_change_whose_hint_was_lost(world):
    page = await database_sync_to_async(Page)(world.viewer, f"/ws/jobs/{world.job.id}/")
    async with page as socket:
        await socket.receive()

        def quietly():
            with system_scope():
                Round.objects.filter(job=world.job).update(assigned=3)

        await database_sync_to_async(quietly)()
        assert "3 of 6 devices bound" in await socket.receive()


async def test_it_pushes_at_most_two_updates_a_second(world):
    page = await database_sync_to_async(Page)(world.viewer, "/ws/jobs/")
    async with page as socket:
        await socket.receive()
        for number in (1, 2, 3, 4, 5) * 2:
            await database_sync_to_async(change)(world.job, assigned=number)
        await asyncio.sleep(1.2)
        assert 1 <= socket.from_app.qsize() <= 3


async def test_a_change_of_state_goes_before_the_counts_of_devices(world, monkeypatch):
    seen = []
    relay = live.Relay()
    few, many = (Topic("job", world.tenant.id, uuid7()) for _ in range(2))
    relay.subscribers = {few: set(), many: set()}

    async def refreshed(topic):
        seen.append(topic)
        if topic == few:  # what comes meanwhile has its turn in the next slice
            relay.note(note | {"job": str(few.job_id), "kind": "assignment.bound"})

    monkeypatch.setattr(relay, "_refresh", refreshed)
    note = {"tenant": str(world.tenant.id)}
    relay.note(note | {"job": str(many.job_id), "kind": "job.paused"})
    relay.note(note | {"job": str(few.job_id), "kind": "assignment.bound"})
    assert (relay.dirty, list(relay.steady)) == ({many}, [few])
    await relay._look_at_steady()
    assert seen == [few]
    assert list(relay.steady) == [few]


async def test_it_renders_once_for_all_who_see_the_same(world, monkeypatch):
    rendered = []
    original = live._render

    async def counted(topic):
        rendered.append(topic)
        return await original(topic)

    monkeypatch.setattr(live, "_render", counted)
    address = f"/ws/jobs/{world.job.id}/"
    one, two = [await database_sync_to_async(Page)(world.viewer, address) for _ in range(2)]
    async with one as first, two as second:
        assert await first.receive() == await second.receive()
        assert len(rendered) == 1
        await database_sync_to_async(change)(world.job, assigned=1)
        assert await first.receive() == await second.receive()


async def test_it_never_tells_a_stranger(world):
    page = await database_sync_to_async(Page)(world.stranger, f"/ws/jobs/{world.job.id}/")
    async with page as socket:
        assert await socket.closed() == 4404
    overview = await database_sync_to_async(Page)(world.stranger, "/ws/overview/")
    async with overview as socket:
        assert "digits-mlp" not in await socket.receive()
        await database_sync_to_async(change)(world.job, assigned=1)
        assert await socket.receive_nothing(timeout=1.5)


async def test_it_closes_on_the_anonymous_and_on_other_sites(world):
    anonymous = Socket("/ws/overview/")
    assert await anonymous.connect()
    assert await anonymous.closed() == 4403
    await anonymous.disconnect()
    foreign = Socket("/ws/overview/", origin="http://elsewhere.example")
    assert not await foreign.connect()


@pytest.mark.parametrize("end", ["sign_out", "leave"])
async def test_it_closes_when_its_member_may_no_longer(world, monkeypatch, end):
    monkeypatch.setattr("frontend.consumers.RECHECK_S", 0.2)
    page = await database_sync_to_async(Page)(world.viewer, "/ws/overview/")

    def over():
        if end == "sign_out":
            page.session.delete()
        else:
            with system_scope():
                Member.objects.filter(user=world.viewer).delete()

    async with page as socket:
        await socket.receive()
        await database_sync_to_async(over)()
        assert await socket.closed() == 4403


async def test_its_member_is_looked_at_again_after_the_database_was_away(world, monkeypatch):
    monkeypatch.setattr("frontend.consumers.RECHECK_S", 0.1)
    looked = []
    find = consumers.PageConsumer._find

    def away_at_first(consumer):
        looked.append(consumer)
        if len(looked) in (2, 3):  # the first is the connection's own
            raise OperationalError("the server closed the connection")
        return find(consumer)

    monkeypatch.setattr(consumers.PageConsumer, "_find", away_at_first)
    page = await database_sync_to_async(Page)(world.viewer, "/ws/overview/")
    async with page as socket:
        await socket.receive()
        await database_sync_to_async(page.session.delete)()
        assert await socket.closed() == 4403
    assert len(looked) >= 4


async def test_a_browser_that_reads_nothing_holds_up_nobody_and_is_dropped(world, monkeypatch):
    monkeypatch.setattr(live, "PUSH_S", 1.0)
    address = f"/ws/jobs/{world.job.id}/"
    stuck, page = [await database_sync_to_async(Page)(world.viewer, address) for _ in range(2)]
    stuck.socket.from_app = asyncio.Queue(2)  # room for the first page, and one push
    assert await stuck.socket.connect()
    async with page as socket:
        await socket.receive()
        for number in (1, 2, 3, 4):
            await database_sync_to_async(change)(world.job, assigned=number)
            assert f"{number} of 6 devices bound" in await socket.receive()
        await asyncio.wait_for(stuck.socket.task, 20)
        (subscribers,) = live.relay().subscribers.values()
        assert len(subscribers) == 1
    assert not live.relay().pushing


async def test_one_that_fell_behind_gets_all_of_it_once_it_reads(world):
    address = f"/ws/jobs/{world.job.id}/"
    late, page = [await database_sync_to_async(Page)(world.viewer, address) for _ in range(2)]
    late.socket.from_app = asyncio.Queue(1)
    async with late as slow, page as socket:
        await socket.receive()
        for number in (1, 2, 3):
            await database_sync_to_async(change)(world.job, assigned=number)
            assert f"{number} of 6 devices bound" in await socket.receive()
        shown = [await slow.receive() for _ in range(3)]
        assert shown[0].count('hx-swap-oob="true"') == 9
        assert "1 of 6 devices bound" in shown[1]
        assert shown[2].count('hx-swap-oob="true"') == 9
        assert "3 of 6 devices bound" in shown[2]


async def test_a_tab_closed_while_its_page_was_rendered_leaves_nothing(world):
    page = await database_sync_to_async(Page)(world.viewer, "/ws/overview/")
    put = page.socket.from_app.put

    async def gone(message):
        if message["type"] == "websocket.send":
            raise ConnectionResetError("the browser has gone")
        await put(message)

    page.socket.from_app.put = gone
    assert await page.socket.connect()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(page.socket.task, 20)
    assert live.relay().subscribers == {}
    assert live.relay().tasks == []


async def test_it_hears_again_after_its_connection_to_valkey_broke(world, redis):
    page = await database_sync_to_async(Page)(world.viewer, f"/ws/jobs/{world.job.id}/")
    async with page as socket:
        await socket.receive()
        await asyncio.sleep(0.3)
        connections.soft_state().client_kill_filter(_type="pubsub")
        await database_sync_to_async(change)(world.job, assigned=4)
        assert "4 of 6 devices bound" in await socket.receive()
        listening = dict(redis.pubsub_numsub(events.CHANNEL))
        assert listening[events.CHANNEL.encode()] == 1


async def test_it_forgets_a_page_that_nobody_looks_at(world):
    page = await database_sync_to_async(Page)(world.viewer, "/ws/overview/")
    async with page as socket:
        await socket.receive()
        relay = live.relay()
        assert relay.subscribers
    async with asyncio.timeout(20):
        while relay.subscribers or relay.shown or relay.tasks:
            await asyncio.sleep(0.01)


async def test_it_gives_the_chart_as_data(world, finished_rounds):
    await database_sync_to_async(finished_rounds)(world.job, 2, 3)
    page = await database_sync_to_async(Page)(world.viewer, f"/ws/jobs/{world.job.id}/")
    async with page as socket:
        html = await socket.receive()
    data = html.split('<script id="plot-data-1" type="application/json">')[1]
    loss = json.loads(data.split("</script>")[0])
    assert [loss["stops"][stop][0] for stop, _ in loss["rows"][1]["points"]] == [2, 3]
    assert html.count("<polyline") == 4
    assert await database_sync_to_async(Job.objects.count)() == 0  # the threads left the tenant


async def test_it_shows_how_far_each_transfer_is_at_first_and_live(world, browse):
    assignment = await database_sync_to_async(bind)(world)
    address = f"/jobs/{world.job.id}/"
    transfers = under_way.Transfers()
    told = transfers.begin(str(assignment), "down", done_bytes=500_000, size_bytes=2_000_000)
    with told as moving:
        page = await database_sync_to_async(Page)(world.viewer, f"/ws{address}")
        async with page as socket:
            while "0.5 of 2.0 MB at 0 B/s" not in await socket.receive():
                pass
            moving.reached(1_500_000)
            while 'value="75"' not in (news := await socket.receive()):
                pass
            assert "1.5 of 2.0 MB at " in news
            first = await database_sync_to_async(html)(browse, world.viewer, address)
            assert "Downloading the model</span>" in first
            assert "1.5 of 2.0 MB at " in first
    async with asyncio.timeout(30):
        while "Downloading" in await database_sync_to_async(html)(browse, world.viewer, address):
            await asyncio.sleep(0.1)


def test_it_does_without_the_figures_while_redis_is_away(world, browse, settings):
    bind(world)
    connections.soft_state.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    try:
        shown = html(browse, world.viewer, f"/jobs/{world.job.id}/")
    finally:
        connections.soft_state.cache_clear()
    assert "Bound, not yet heard from" in shown


def html(browse, user, address):
    answer = browse(user).get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def bind(world):
    """Bind a device to the round; returns the assignment."""
    device = factories.device(world.private)
    binding = job_services.Binding(uuid7(), world.round.id, device.id, 1)
    with system_scope():
        assert job_services.assign(bindings=[binding], now=factories.NOW) == {
            binding.assignment_id: "assigned"
        }
    return binding.assignment_id
