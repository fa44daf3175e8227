"""The agent over a real websocket on loopback, against a scripted gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from propius import wire
from propius.agent import attempts, conditions, introduction, watch
from propius.agent.agent import Agent, AgentOptions
from propius.agent.conditions import Readings
from propius.agent.connection import AgentStopped
from propius.agent.trainer import TrainingError
from tests.unit.sdk.agent.scripted import (
    EchoTrainer,
    Peer,
    ScriptedGateway,
    assignment,
    candidate,
    device_home,
    digest,
    gateway,
    point_to,
)

MODEL = random.Random(1).randbytes(3_000_000)
OPTIONS = AgentOptions(backoff_base_s=0.02, backoff_cap_s=0.05)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return device_home(tmp_path / "device")


@contextlib.asynccontextmanager
async def running(
    home: Path, one: ScriptedGateway, trainer: EchoTrainer, options: AgentOptions = OPTIONS
) -> AsyncIterator[Agent]:
    point_to(home, one.url)
    agent = Agent(home=home, trainer=trainer, options=options)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        await agent.stop()
        await asyncio.wait_for(task, 60)


async def test_one_assignment_from_hello_to_accepted(home: Path) -> None:
    trainer = EchoTrainer(update=MODEL[:700_000])

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=MODEL))
        await peer.expect(wire.Accept)
        await peer.serve_blob(MODEL)
        assert await peer.take_upload() == trainer.update
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one, running(home, one, trainer):
        await one.finished()
    assert trainer.started[0].parameters.read_bytes() == MODEL
    assert not list((home / "spool").iterdir())
    assert not list((home / "partial").iterdir())


async def test_a_cached_blob_is_not_asked_for_again(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for number in range(2):
            await peer.expect(wire.CheckIn)
            await peer.send(assignment(f"a{number}", kind="evaluate"))
            await peer.expect(wire.Accept)
            if number == 0:
                await peer.serve_blob(b"model")
            await peer.expect(wire.Report)
            await peer.send(wire.Accepted(assignment=f"a{number}"))

    async with gateway(script) as one, running(home, one, EchoTrainer()):
        await one.finished()


async def test_what_it_learns_of_itself_is_told_with_the_next_word(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introduction, "AGAIN_S", 0.0)

    async def script(peer: Peer) -> None:
        await peer.greet()
        first = await peer.expect(wire.CheckIn)
        assert first.attributes is None
        assert not any(b"network_mbps" in frame for frame in peer.heard)
        await peer.send(assignment(parameters=MODEL, kind="evaluate"))
        await peer.expect(wire.Accept)
        await peer.serve_blob(MODEL)
        await peer.expect(wire.Report)
        await peer.send(wire.Accepted(assignment="a1"))
        told = (await peer.expect(wire.CheckIn)).attributes
        assert told["network_mbps"] > 0
        assert told["cpu_score"] == 2.5, "the owner's word stands"

    async def second(peer: Peer) -> None:
        await peer.send(wire.Challenge(nonce="ab" * 32, protocols=[1]))
        assert (await peer.expect(wire.Hello)).attributes["network_mbps"] > 0

    async with gateway(script, second) as one, running(home, one, EchoTrainer()):
        await one.finished()


async def test_a_cut_download_resumes_where_it_was(home: Path) -> None:
    offsets: list[int] = []

    async def cut(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=MODEL))
        await peer.expect(wire.Accept)
        asked = await peer.expect(wire.Download)
        await peer.socket.send(wire.pack_chunk(asked.transfer, 0, MODEL[:200_000]))

    async def rest(peer: Peer) -> None:
        await peer.greet(resume=assignment(parameters=MODEL))
        await peer.expect(wire.Accept)
        offsets.append((await peer.serve_blob(MODEL)).offset)
        await peer.expect(wire.Upload)

    trainer = EchoTrainer()
    async with gateway(cut, rest) as one, running(home, one, trainer):
        await one.finished()
    assert offsets == [200_000]
    assert digest(trainer.started[0].parameters.read_bytes()) == digest(MODEL)


async def test_a_cut_upload_resumes_where_the_gateway_says(home: Path) -> None:
    update = MODEL[:900_000]

    async def cut(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        asked = await peer.expect(wire.Upload)
        await peer.send(wire.UploadReady(transfer=asked.transfer, offset=0, credit=200_000))
        assert (await peer.chunk())[1] == 0

    async def rest(peer: Peer) -> None:
        await peer.greet(resume=assignment())
        await peer.expect(wire.Accept)
        assert await peer.take_upload(offset=131_072) == update[131_072:]
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)

    trainer = EchoTrainer(update=update)
    async with gateway(cut, rest) as one, running(home, one, trainer):
        await one.finished()
    assert len(trainer.started) == 1, "trained once, sent twice"


async def test_an_upload_stays_within_its_credit(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        asked = await peer.expect(wire.Upload)
        await peer.send(wire.UploadReady(transfer=asked.transfer, offset=0, credit=100_000))
        assert len((await peer.chunk())[2]) == 100_000
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.socket.recv(), 0.2)
        await peer.send(wire.Credit(transfer=asked.transfer, size_bytes=50_000))
        assert len((await peer.chunk())[2]) == 50_000

    async with gateway(script) as one, running(home, one, EchoTrainer(MODEL[:300_000])):
        await one.finished()


async def test_more_bytes_than_the_blob_has_end_the_connection(home: Path) -> None:
    async def greedy(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=b"model"))
        await peer.expect(wire.Accept)
        asked = await peer.expect(wire.Download)
        await peer.socket.send(wire.pack_chunk(asked.transfer, 0, b"model and more"))
        await peer.socket.wait_closed()

    async with gateway(greedy) as one, running(home, one, EchoTrainer()):
        await one.finished()


async def test_a_gap_in_a_download_ends_the_connection(home: Path) -> None:
    async def gap(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=MODEL))
        await peer.expect(wire.Accept)
        asked = await peer.expect(wire.Download)
        await peer.socket.send(wire.pack_chunk(asked.transfer, 10, MODEL[:100]))
        await peer.socket.wait_closed()

    async with gateway(gap) as one, running(home, one, EchoTrainer()):
        await one.finished()


async def test_a_damaged_download_is_fetched_once_more_and_then_fails(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=b"model"))
        await peer.expect(wire.Accept)
        first = await peer.serve_blob(b"evil!")
        second = await peer.serve_blob(b"evil!")
        assert first.transfer != second.transfer
        assert second.offset == 0
        assert (await peer.expect(wire.Fail)).code == "digest_mismatch"

    trainer = EchoTrainer()
    async with gateway(script) as one, running(home, one, trainer):
        await one.finished()
    assert trainer.started == []


async def test_cancelled_in_mid_training_the_work_is_stopped(home: Path) -> None:
    trainer = EchoTrainer()
    trainer.hold = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        while not trainer.started:
            await asyncio.sleep(0.01)
        await peer.send(wire.Cancelled(assignment="a1", code="round_closed"))
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one, running(home, one, trainer):
        await one.finished()
        assert trainer.cancelled == 1


async def test_training_goes_on_while_the_gateway_is_gone(home: Path) -> None:
    trainer = EchoTrainer()
    trainer.hold = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        while not trainer.started:
            await asyncio.sleep(0.01)

    async def second(peer: Peer) -> None:
        await peer.greet(resume=assignment())
        await peer.expect(wire.Accept)
        assert trainer.hold is not None
        trainer.hold.set()
        await peer.take_upload()
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)

    async with gateway(first, second) as one, running(home, one, trainer):
        await one.finished()
    assert (len(trainer.started), trainer.cancelled) == (1, 0)


async def test_a_result_outlives_the_process(home: Path) -> None:
    trainer = EchoTrainer()

    async def lost(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        await peer.expect(wire.Upload)

    async with gateway(lost) as one, running(home, one, trainer):
        await one.finished()
    assert len(list((home / "spool").iterdir())) == 2

    async def found(peer: Peer) -> None:
        await peer.greet(resume=assignment())
        await peer.expect(wire.Accept)
        assert await peer.take_upload() == trainer.update
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)

    async with gateway(found) as one, running(home, one, trainer):
        await one.finished()
    assert len(trainer.started) == 1


async def test_stopping_says_good_bye_and_gives_the_work_back(home: Path) -> None:
    trainer = EchoTrainer()
    trainer.hold = asyncio.Event()
    left: list[wire.Leave] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment())
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        left.append(await peer.expect(wire.Leave))

    async with gateway(script) as one, running(home, one, trainer) as agent:
        while not trainer.started:
            await asyncio.sleep(0.01)
        await agent.stop()
        await one.finished()
    assert left
    assert trainer.cancelled == 1


async def test_a_revoked_device_stops_with_the_fix(home: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(wire.Challenge(nonce="ab" * 32, protocols=[1]))
        await peer.expect(wire.Hello)
        await peer.send(wire.Refused(code="device_revoked", message="gone", fatal=True))
        await peer.socket.close(1008)

    async with gateway(script) as one:
        point_to(home, one.url)
        agent = Agent(home=home, trainer=EchoTrainer(), options=OPTIONS)
        with pytest.raises(AgentStopped, match="new enrolment token") as caught:
            await asyncio.wait_for(agent.run(), 5)
    assert caught.value.code == "device_revoked"


async def test_an_address_that_is_no_gateway_stops_with_the_fix(home: Path) -> None:
    point_to(home, "http://127.0.0.1:1/")
    agent = Agent(home=home, trainer=EchoTrainer(), options=OPTIONS)
    with pytest.raises(AgentStopped, match="enrol the device again"):
        await asyncio.wait_for(agent.run(), 5)


async def test_where_it_was_served_it_goes_on_trying_whatever_answers(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one, running(home, one, EchoTrainer()):
        await one.finished()
    assert (home / attempts.SERVED).read_text() == one.url
    monkeypatch.setattr(attempts, "SLOW_BASE_S", 0.02)
    asked = 0
    again = asyncio.Event()

    async def sign_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        asked += 1
        if asked > 2:  # one by the agent that ended, two by the one that goes on
            again.set()

    hotel = await asyncio.start_server(sign_in, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{hotel.sockets[0].getsockname()[1]}/device/v1"
    point_to(home, url)
    with pytest.raises(AgentStopped, match="not as a Propius gateway"):  # a new address
        await asyncio.wait_for(Agent(home=home, trainer=EchoTrainer()).run(), 5)
    (home / attempts.SERVED).write_text(url)
    agent = Agent(home=home, trainer=EchoTrainer(), options=OPTIONS)
    task = asyncio.create_task(agent.run())
    await asyncio.wait_for(again.wait(), 5)
    await agent.stop()
    await task
    hotel.close()
    assert any(one.levelname == "ERROR" and "turned_away" in one.message for one in caplog.records)


async def test_a_gateway_that_is_down_is_tried_again_and_stop_does_not_wait(home: Path) -> None:
    agent = Agent(home=home, trainer=EchoTrainer(), options=AgentOptions(backoff_base_s=300.0))
    task = asyncio.create_task(agent.run())
    await asyncio.sleep(0.1)
    assert not task.done()
    await agent.stop()
    await asyncio.wait_for(task, 60)


async def test_an_unreadable_frame_ends_the_connection_and_the_agent_comes_back(
    home: Path,
) -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.socket.send('{"type": "surprise"}')
        await peer.socket.wait_closed()

    async def good(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)

    async with gateway(nonsense, good) as one, running(home, one, EchoTrainer()):
        await one.finished()


async def test_a_slowed_device_takes_longer_by_its_factor(home: Path) -> None:
    times: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(kind="evaluate"))
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        times.append(asyncio.get_running_loop().time())
        await peer.expect(wire.Report)
        times.append(asyncio.get_running_loop().time())

    options = AgentOptions(slowdown=21.0, backoff_base_s=0.02)
    async with gateway(script) as one, running(home, one, EchoTrainer(), options):
        await one.finished()
    assert times[1] - times[0] >= 0.2


async def declined_by_data(peer: Peer) -> None:
    """Let the device decline for what its data set is like, and for too many questions."""
    workload = {"kind": "handler", "handler": "logistic", "dataset": "digits"}
    for number, (needs, code) in enumerate(
        (
            ({"x": {"shape": [28, 28]}}, "dataset.x.shape"),
            ({"y": {"classes": 2}}, "dataset.y.classes"),
        )
    ):
        changes = {"workload": workload | {"needs": needs}}
        await peer.send(assignment(f"d{number}", job=f"n{number}", **changes))
        assert (await peer.expect(wire.Decline)).code == code
    asked = {"examples": {"min": 1}}  # of a job whose one question was answered above
    await peer.send(assignment("d2", job="n1", kind="evaluate", constraints=asked))
    assert (await peer.expect(wire.Decline)).code == "probe_limit"


CONDITIONS = """
charging = true
unmetered = true
hours = ["03:17-03:18"]
cpu_load_max = 0.1357
temperature_max_c = 24.68
memory_free_min_mb = 1048575
disk_free_min_mb = 2097151
seconds_a_day = 86399
bytes_a_day = 987654321
grace_s = 0
"""
BUSY = Readings(
    charging=False, metered=True, load=0.86429, temperature_c=91.37, memory_free_mb=43219,
    disk_free_mb=76543, minute=12 * 60 + 34,
)  # fmt: skip


class Machine:
    """A machine whose owner lets it work, until he does not."""

    def __init__(self) -> None:
        self.now = Readings(
            metered=False, memory_free_mb=1 << 22, disk_free_mb=1 << 22, minute=3 * 60 + 17
        )

    def read(self) -> Readings:
        return self.now


async def given_back_and_declined_by_conditions(
    peer: Peer, trainer: EchoTrainer, machine: Machine
) -> None:
    """Let the owner's conditions cease to hold at work, and ask the device for more."""
    trainer.error, trainer.hold = None, asyncio.Event()
    before = len(trainer.started)
    await peer.send(assignment("e1", job="j5"))
    await peer.expect(wire.Accept)  # it has the model since the last one
    while len(trainer.started) == before:
        await asyncio.sleep(0.01)
    machine.now = BUSY
    assert (await peer.expect(wire.Fail)).code == "condition"
    await peer.send(wire.Offer(offer="o2", candidates=[candidate("r9")], answer_s=5.0))
    assert (await peer.expect(wire.Choose)).refused == {"r9": "condition"}
    await peer.send(assignment("e2", job="j6"))
    assert (await peer.expect(wire.Decline)).code == "condition"


async def test_no_private_name_or_value_ever_leaves(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search every byte sent in a session of offers, refusals, failures and results."""
    monkeypatch.setattr(watch, "EVERY_S", 0.02)
    (home / "conditions.toml").write_text(CONDITIONS)
    machine = Machine()
    (home / "consent.toml").write_text(
        '[tenants.globex]\nkinds = []\ndatasets = ["digits"]\n[probes]\nper_job = 1\n'
    )
    trainer = EchoTrainer()
    constraints = {
        "r1": {"label_classes": {"min": 7}},
        "r2": {"ward": {"in": ["oncology-west-7"]}, "examples": {"min": 100}},
        "r3": {"examples": {"min": 138}},
    }

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        shown = [candidate(name, constraints=one) for name, one in constraints.items()]
        await peer.send(wire.Offer(offer="o", candidates=shown, answer_s=5.0))
        choice = await peer.expect(wire.Choose)
        assert choice.ranked == ["r2"]
        assert choice.refused == {"r1": "private_constraint", "r3": "private_constraint"}
        await peer.send(assignment("a1", constraints=constraints["r2"], job="j2"))
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"model")
        await peer.take_upload()
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)
        for number, changes in enumerate(
            (
                {"constraints": constraints["r1"]},
                {"tenant": "globex"},
                {"workload": {"kind": "handler", "handler": "logistic", "dataset": "other"}},
            )
        ):
            await peer.send(assignment(f"b{number}", job=f"k{number}", **changes))
            await peer.expect(wire.Decline)
        await declined_by_data(peer)
        trainer.error = TrainingError("task_failed", "KeyError: 'oncology-west-7' of ward")
        await peer.send(assignment("c1", job="j3"))
        await peer.expect(wire.Accept)
        assert (await peer.expect(wire.Fail)).code == "task_failed"
        await given_back_and_declined_by_conditions(peer, trainer, machine)

    options = AgentOptions(backoff_base_s=0.02, backoff_cap_s=0.05, meter=machine)
    async with gateway(script) as one, running(home, one, trainer, options) as agent:
        await one.finished()
    private = agent.device.datasets.private_attributes("digits")
    assert private == {
        "examples": 137,
        "validation_examples": 41,
        "label_classes": 6,
        "ward": "oncology-west-7",
    }
    heard = b"\n".join(one.heard)
    assert len(heard) > 1000
    # A signature is random hex, new at each run: any three digits stand in it now and then.
    heard = re.sub(rb'"signature":"[0-9a-f]{128}"', b"", heard)
    for secret in (*private, "oncology-west-7", "137", ":41", ": 41", "8675", "digits.npz"):
        assert secret.encode() not in heard, secret
    unmet = conditions.unmet(agent.device.conditions, BUSY)
    assert len(unmet) == 7
    asked = re.findall(r"^\w+", CONDITIONS, flags=re.MULTILINE)
    numbers = re.findall(r"\d{4,}|\d\d[.:]\d\d", CONDITIONS)
    readings = ("0.864", "86%", "91.37", "91 °C", "43219", "76543", "12:34", "battery", "metered")
    for secret in (*asked, *numbers, *readings, *(one.words for one in unmet)):
        assert secret.encode() not in heard, secret
