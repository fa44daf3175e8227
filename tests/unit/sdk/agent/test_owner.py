"""The owner's side of a running agent: pause, history, leaving, and what befalls the machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from propius import wire
from propius.agent import control, departure, doctor, identity, network, watch
from propius.agent.agent import Agent, AgentOptions
from propius.agent.conditions import Readings
from propius.agent.connection import AgentStopped
from propius.agent.events import CancelTraining, Note, PauseWork, ResumeWork, Train
from propius.agent.history import History, Usage, midnight
from propius.agent.identity import Home, IdentityError
from propius.agent.recording import Recorder
from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.cli import app
from propius.training.brake import Brake
from propius.training.pool import TrainerPool
from propius.training.tasks import HandlerTask
from tests.unit.sdk.agent.scripted import (
    EchoTrainer,
    Peer,
    ScriptedGateway,
    assignment,
    device_home,
    digest,
    gateway,
    point_to,
)
from tests.unit.sdk.agent.test_network import certificate

OPTIONS = AgentOptions(backoff_base_s=0.02, backoff_cap_s=0.05)
MODEL = b"m" * 300_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return device_home(tmp_path / "device")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.02)


@contextlib.asynccontextmanager
async def running(
    home: Path, one: ScriptedGateway, trainer: EchoTrainer | None = None, **options: Any
) -> AsyncIterator[Agent]:
    point_to(home, one.url)
    chosen = AgentOptions(backoff_base_s=0.02, backoff_cap_s=0.05, **options)
    agent = Agent(home=home, trainer=trainer or EchoTrainer(), options=chosen)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        await agent.stop()
        with contextlib.suppress(AgentStopped):
            await asyncio.wait_for(task, 60)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


async def whole_round(peer: Peer, identifier: str = "a1") -> None:
    await peer.expect(wire.CheckIn)
    await peer.send(assignment(identifier, parameters=MODEL))
    await peer.expect(wire.Accept)
    await peer.serve_blob(MODEL)
    await peer.take_upload()
    await peer.send(wire.Accepted(assignment=identifier))


def cli(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["device", *arguments])
    assert done.exit_code == status, done.output
    return done.output


# --- pause ---


async def test_a_paused_device_asks_for_nothing_until_it_is_resumed(home: Path) -> None:
    cli("pause", "--home", str(home))
    ready = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        ready.set()
        await whole_round(peer)

    async with gateway(script) as one, running(home, one) as agent:
        await ready.wait()
        await until(lambda: agent.session.bench.paused)
        assert not any(b"check_in" in frame for frame in one.heard)
        assert "it goes on" in cli("resume", "--home", str(home))
        await one.finished()


class Battery:
    """A machine whose charger the test pulls."""

    charging = True

    def read(self) -> Readings:
        return Readings(charging=self.charging)


async def test_it_looks_at_the_conditions_before_it_connects(home: Path) -> None:
    connected = threading.Event()
    early: list[bool] = []

    class Slow:
        def read(self) -> Readings:
            if not early:
                early.append(connected.wait(0.3))
            return Readings()

    async def script(peer: Peer) -> None:
        connected.set()
        await peer.greet()
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one, running(home, one, meter=Slow()):
        await one.finished()
    assert early == [False]


async def test_without_anybody_who_looks_at_the_conditions_the_agent_ends(home: Path) -> None:
    class Broken:
        def read(self) -> Readings:
            raise KeyError("MemAvailable")

    async def script(peer: Peer) -> None:
        await peer.greet()

    async with gateway(script) as one:
        point_to(home, one.url)
        agent = Agent(home=home, trainer=EchoTrainer(), options=AgentOptions(meter=Broken()))
        async with asyncio.timeout(60):
            with pytest.raises(AgentStopped, match="MemAvailable"):
                await agent.run()


async def test_work_is_given_back_when_the_charger_is_pulled_for_long(home: Path) -> None:
    (home / "conditions.toml").write_text("charging = true\ngrace_s = 0\n")
    meter, trainer = Battery(), EchoTrainer()
    trainer.hold = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        await until(lambda: trainer.started)
        meter.charging = False
        failed = await peer.expect(wire.Fail)
        assert (failed.code, "battery" in failed.message) == ("condition", False)
        meter.charging = True
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one, running(home, one, trainer, meter=meter):
        await one.finished()
    assert trainer.cancelled == 1
    (entry,) = History(home / "history.sqlite").entries()
    assert entry.outcome == "failed (condition)"


async def test_work_that_begins_in_a_pause_stands_still_from_the_start(home: Path) -> None:
    """What it needs may be in the cache, so that no transfer holds it up."""
    trainer = EchoTrainer()
    trainer.hold = asyncio.Event()
    execution = Agent(home=home, trainer=trainer, options=OPTIONS)._execution
    execution.hold()
    execution.start(assignment())
    await until(lambda: trainer.started)
    brake = trainer.started[0].brake
    assert brake.pressed
    execution.go_on()
    assert not brake.pressed
    await execution.close()


async def test_a_spent_budget_keeps_the_device_from_more(home: Path) -> None:
    (home / "conditions.toml").write_text("bytes_a_day = 300000\n")

    async def script(peer: Peer) -> None:
        await peer.greet()
        await whole_round(peer)

    async with gateway(script) as one, running(home, one, meter=Battery()) as agent:
        await one.finished()
        await until(lambda: agent.session.bench.paused)
        assert [reason.name for reason in agent._watch.reasons()] == ["bytes_a_day"]


async def test_the_brake_holds_a_child_where_it_stands() -> None:
    task = HandlerTask(
        action="train", handler="signal:pause", parameters_path="", data_path="", split="train"
    )
    brake = Brake()
    async with TrainerPool(1, 512) as pool:
        work = asyncio.create_task(pool.run(task, 60, brake))
        await until(lambda: pool.pids)
        child = psutil.Process(pool.pids[0])
        brake.press()
        await until(lambda: child.status() == psutil.STATUS_STOPPED)
        brake.release()
        await until(lambda: child.status() != psutil.STATUS_STOPPED)
        brake.press()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await until(lambda: not psutil.pid_exists(child.pid))


# --- history ---


async def test_history_tells_what_ran_for_whom_and_what_it_cost(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await whole_round(peer)
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one, running(home, one, EchoTrainer(update=b"u" * 5000)):
        await one.finished()
    (entry,) = json.loads(cli("history", "--home", str(home), "--output", "json"))
    assert (entry["tenant"], entry["job"], entry["dataset"]) == ("acme", "j1", "digits")
    assert entry["outcome"] == "accepted"
    assert 300_000 < entry["bytes_in"] < 310_000
    assert 5_000 < entry["bytes_out"] < 7_000
    assert entry["seconds"] > 0
    assert "acme" in cli("history", "--home", str(home))
    assert stat.S_IMODE((home / "history.sqlite").stat().st_mode) == 0o600


def test_what_a_crash_cut_off_is_called_interrupted(home: Path) -> None:
    record = History(home / "history.sqlite")
    record.begin(assignment("a1"), now=time.time())
    record.begin(assignment("a2"), now=time.time())
    Agent(home=home, trainer=EchoTrainer(), options=OPTIONS)
    assert {one.outcome for one in record.entries()} == {"interrupted"}


def test_time_in_which_work_is_held_still_is_not_counted(home: Path) -> None:
    now = 0.0
    record = History(home / "history.sqlite")
    recorder = Recorder(record, clock=lambda: now)
    one = assignment()
    recorder.did(Note("assignment.taken"), one)
    recorder.did(PauseWork(), one)
    recorder.did(Train(one), one)  # what it needs was here already
    now = 100.0
    recorder.did(ResumeWork(), one)
    now = 107.0
    recorder.did(PauseWork(), one)
    now = 300.0
    recorder.did(CancelTraining(one.id), one)
    recorder.did(ResumeWork(), one)
    now = 400.0
    recorder.save()
    assert record.entries()[0].seconds == 7.0


def test_what_works_over_midnight_is_of_both_days(home: Path) -> None:
    noon = 1_700_000_000.0
    today = midnight(noon)
    record = History(home / "history.sqlite")
    record.begin(assignment(), now=today - 60)
    record.add("a1", Usage(bytes_in=3, seconds=60.0), now=today - 1)
    record.add("a1", Usage(bytes_out=4, seconds=90.0), now=today + 90)
    assert record.used_since(today) == (90.0, 4)
    assert record.used_since(midnight(today - 1)) == (150.0, 7)


def test_a_history_of_an_older_agent_keeps_what_was_used(home: Path) -> None:
    record = History(home / "history.sqlite")
    now = time.time()
    record.begin(assignment(), now=now)
    record.add("a1", Usage(bytes_in=3, seconds=60.0), now=now)
    with sqlite3.connect(record.path) as database:
        database.executescript("DROP TABLE used; PRAGMA user_version = 1;")
    database.close()
    assert record.used_since(midnight(now)) == (60.0, 3)


def test_a_history_that_cannot_be_made_ends_no_agent(home: Path) -> None:
    (home / "history.sqlite").symlink_to(home / "nowhere" / "history.sqlite")
    agent = Agent(home=home, trainer=EchoTrainer(), options=OPTIONS)
    judge = agent.device.judge()
    refusal = judge(assignment(constraints={"examples": {"min": 1}}))
    assert refusal is not None
    assert refusal.code == "probe_limit", "what cannot be counted is not answered"


def test_a_device_without_a_past_has_an_empty_history(home: Path) -> None:
    assert json.loads(cli("history", "--home", str(home), "--output", "json")) == []
    assert not (home / "history.sqlite").exists()


# --- leaving ---


async def test_leaving_ends_the_agent_and_erases_what_is_not_the_owners(
    home: Path, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await whole_round(peer)
        await peer.expect(wire.CheckIn)
        left = asyncio.create_task(asyncio.to_thread(cli, "leave", "--erase", "--home", str(home)))
        await peer.expect(wire.Leave)
        assert "erased: the private key" in await left

    async with gateway(script) as one:
        point_to(home, one.url)
        network.keep(certificate(tmp_path)[1], Home(home))
        agent = Agent(home=home, trainer=EchoTrainer(), options=OPTIONS)
        with pytest.raises(AgentStopped, match="left its pool"):
            await agent.run()
        await one.finished()
    assert {one.name for one in home.iterdir()} == {
        "attributes.toml", "datasets.toml", "digits.npz", "handlers.toml",
    }  # fmt: skip


def test_leaving_revokes_with_a_word_that_only_the_key_can_sign(home: Path) -> None:
    folder = Home(home)
    identity.save_enrolment(
        folder,
        identity.Enrolment(
            device="d1", gateway="ws://x", pool="p", pool_tenants=[], url="http://x"
        ),
    )
    key = identity.load_key(folder).public_key()
    asked: list[httpx.Request] = []

    def platform(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(204)

    done = departure.leave(folder, erase=True, transport=httpx.MockTransport(platform))
    assert done.revoked
    body = json.loads(asked[0].content)
    key.verify(bytes.fromhex(body["signature"]), wire.leaving("d1"))
    assert asked[0].url.path == "/api/v1/devices/leave"


def test_without_a_network_leaving_erases_and_says_that_the_platform_does_not_know(
    home: Path,
) -> None:
    folder = Home(home)
    identity.save_enrolment(
        folder,
        identity.Enrolment(
            device="d1", gateway="ws://x", pool="p", pool_tenants=[], url="http://127.0.0.1:1"
        ),
    )
    said = cli("leave", "--erase", "--home", str(home))
    assert "does not know yet" in said
    assert "erased: the enrolment" in said
    assert "enrol" in cli("run", "--home", str(home), status=1)


def test_two_agents_cannot_share_a_folder(home: Path) -> None:
    with (
        control.running(Home(home)),
        pytest.raises(IdentityError, match=str(os.getpid())),
        control.running(Home(home)),
    ):
        pass
    assert not control.runs(Home(home))


# --- the machine ---


@pytest.mark.parametrize("what", ["sleep", "address"])
async def test_after_a_sleep_or_with_a_new_address_it_connects_anew_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    slept = 0.0
    options = {"backoff_base_s": 60.0, "backoff_cap_s": 60.0}

    async def first(peer: Peer) -> None:
        nonlocal slept
        await peer.greet()
        await peer.expect(wire.CheckIn)
        if what == "sleep":
            slept = 3600.0
        else:
            monkeypatch.setattr(watch, "ROUTE_EVERY", 1)
            monkeypatch.setattr(watch, "route_to", lambda peer: "192.0.2.7")
        await peer.socket.wait_closed()
        monkeypatch.setattr(watch, "ROUTE_EVERY", 10**9)

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)

    async with gateway(first, second) as one:
        point_to(home, one.url)
        agent = Agent(home=home, trainer=EchoTrainer(), options=AgentOptions(**options))
        agent._watch._slept = lambda: slept
        task = asyncio.create_task(agent.run())
        await one.finished()
        await agent.stop()
        await task


def test_the_route_to_this_machine_is_from_this_machine() -> None:
    assert watch.route_to(("127.0.0.1", 9)) == "127.0.0.1"


async def test_a_full_disk_is_a_failure_in_words_and_the_agent_goes_on(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        (home / "partial" / digest(MODEL)).symlink_to("/dev/full")
        await peer.send(assignment(parameters=MODEL))
        await peer.expect(wire.Accept)
        asked = await peer.expect(wire.Download)
        await peer.socket.send(wire.pack_chunk(asked.transfer, 0, MODEL[:200_000]))
        failed = await peer.expect(wire.Fail)
        assert (failed.code, "No space left" in failed.message) == ("disk", True)
        await whole_round(peer, "a2")

    async with gateway(script) as one, running(home, one):
        await one.finished()


@pytest.mark.parametrize("where", ["trainer", "spool"])
async def test_work_whose_result_finds_no_room_fails_for_the_disk(home: Path, where: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(EchoTrainer):
        async def run(self, work: LocalWork, **options: Any) -> LocalOutcome:
            if where == "trainer":
                raise TrainingError("disk", f"{work.output}: No space left on device")
            done = await super().run(work, **options)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
            return done

    ended: asyncio.Queue[Any] = asyncio.Queue()
    execution = Agent(home=home, trainer=Filling(), options=OPTIONS)._execution
    execution._emit = ended.put_nowait
    try:
        execution.start(assignment())
        async with asyncio.timeout(60):
            outcome = (await ended.get()).outcome
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome.code == "disk"
    assert "device's disk" in outcome.message
    assert str(home) not in outcome.message


# --- doctor ---


def named(findings: list[doctor.Finding]) -> dict[str, doctor.Finding]:
    return {one.name: one for one in findings}


def test_the_doctor_says_the_fix_for_each_fault(home: Path) -> None:
    (home / "consent.toml").write_text("[pool]\nkinds = []\n")
    (home / "datasets.toml").write_text('[digits]\npath = "none.npz"\n')
    home.chmod(0o777)
    control.pause(Home(home))
    found = named(doctor.examine(Home(home), meter=Battery()))
    wrong = {name for name, one in found.items() if not one.ok}
    assert wrong == {
        "permissions", "consent", "dataset digits", "network", "gateway", "conditions",
    }  # fmt: skip
    assert all(found[name].fix for name in wrong)
    said = cli("doctor", "--home", str(home), status=1)
    assert "to mend it: propius device resume" in said


@pytest.mark.parametrize(
    ("python", "ok"),
    [((3, 10), False), ((3, 11), True), ((3, 14), True), ((3, 15), False), ((4, 0), False)],
)
def test_the_doctor_names_a_python_that_the_sdk_is_not_made_for(python, ok) -> None:
    found = doctor._python(python)
    assert (found.ok, "3.11 to 3.14" in found.fix) == (ok, not ok)
    assert f"Python {python[0]}.{python[1]}" in found.found


def test_the_doctor_says_how_much_disk_is_missing(home: Path, monkeypatch) -> None:
    assert doctor._disk(Home(home)).ok
    monkeypatch.setattr(doctor, "DISK_MB", 1 << 40)
    found = doctor._disk(Home(home))
    assert (found.ok, "MB free in" in found.found) == (False, True)
    assert f"{1 << 40} MB are needed" in found.fix


def test_the_doctor_of_a_folder_without_a_device_says_how_to_enrol(tmp_path: Path) -> None:
    rows = json.loads(
        cli("doctor", "--home", str(tmp_path / "no"), "--output", "json", status=1)
    )  # fmt: skip
    assert "propius device enrol" in rows[-1]["found"]


@pytest.mark.parametrize(
    ("date", "ok", "words"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", True, "within 30 s"),
        ("Thu, 01 Jan 2026 01:00:00 GMT", False, "3570 s slow"),
        ("Wed, 31 Dec 2025 23:00:00 GMT", False, "3630 s fast"),
        ("", True, "not checked"),
    ],
)
def test_the_clock_is_compared_with_the_servers(date: str, ok: bool, words: str) -> None:
    found = doctor._clock(date, 1767225600.0 + 30)
    assert (found.ok, words in found.found, bool(found.fix)) == (ok, True, not ok)


async def test_the_doctor_hears_the_gateway_without_a_hello(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(wire.Challenge(nonce="ab" * 32, protocols=[7]))
        await peer.socket.wait_closed()

    async with gateway(script) as one:
        point_to(home, one.url)
        found = await asyncio.to_thread(doctor.examine, Home(home), meter=Battery())
        assert "speaks protocol [7]" in named(found)["gateway"].found
        assert "pip install" in named(found)["gateway"].fix
    assert one.heard == []
