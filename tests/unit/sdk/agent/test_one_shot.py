"""``propius device run --once`` against a scripted gateway: how a run ends, and that it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from propius import wire
from propius.agent import control, identity, watch
from propius.agent.conditions import Readings
from propius.agent.identity import Home
from propius.agent.oneshot import OneShot
from propius.agent.options import AgentOptions
from tests.unit.sdk.agent.scripted import EchoTrainer, assignment, device_home

OPTIONS = AgentOptions(programs=False, backoff_base_s=0.02, backoff_cap_s=0.05)
CHALLENGE = wire.Challenge(nonce="0" * 64, protocols=[wire.PROTOCOL])
WELCOME = wire.Welcome(session="s", server="test", ping_s=30.0)
IDLE = wire.Retry(after_s=60.0, code="idle", message="no round for this device now")
Answer = Callable[[list[wire.FromDevice]], list[wire.Message]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(device_home(tmp_path / "device"))
    enrolment = identity.load_enrolment(found)
    identity.save_enrolment(found, msgspec.structs.replace(enrolment, data="http://data"))
    return found


class Gateway:
    """Answers each visit by its words, and serves one blob."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heard: list[wire.FromDevice] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "data":
            return httpx.Response(200, stream=httpx.ByteStream(b"model"))
        told: list[wire.Message] = []
        if request.method == "POST":
            words = [wire.decode_from_device(line) for line in request.content.split(b"\n")][1:]
            self.heard += words
            told = [WELCOME, *self._answer(words)]
        text = "\n".join(map(wire.encode, [*told, CHALLENGE]))
        return httpx.Response(200, text=text, headers={"content-type": "application/x-ndjson"})


def one_shot(
    home: Home, answer: Answer, options: AgentOptions = OPTIONS
) -> tuple[OneShot, Gateway]:
    agent, gateway = (
        OneShot(home=home.path, trainer=EchoTrainer(), options=options),
        Gateway(answer),
    )
    agent._client = httpx.AsyncClient(transport=httpx.MockTransport(gateway))
    return agent, gateway


async def ended(agent: OneShot) -> str:
    async with asyncio.timeout(60):
        await agent.run()
    assert not control.runs(agent.device.home)
    return agent.outcome.words()


def gives(words: list[wire.FromDevice]) -> list[wire.Message]:
    """Bind whoever checks in."""
    return [assignment(kind="evaluate")] if wire.CheckIn() in words else []


async def test_an_unwilling_device_says_nothing_and_is_to_come_back(home: Home) -> None:
    control.pause(home)
    agent, gateway = one_shot(home, gives)
    assert await ended(agent) == "the owner's conditions do not hold now; retry_after 300 s"
    assert not gateway.heard


async def test_a_declined_assignment_is_no_success_to_be_repeated_at_once(home: Home) -> None:
    (home / "consent.toml").write_text("[tenants.acme]\nkinds = []\ndatasets = []\n")
    agent, gateway = one_shot(home, gives)
    assert await ended(agent) == "declined (consent); retry_after 600 s"
    assert [type(one) for one in gateway.heard] == [wire.CheckIn, wire.Decline]


async def test_what_is_done_may_be_followed_by_more_at_once(home: Home) -> None:
    def answer(words: list[wire.FromDevice]) -> list[wire.Message]:
        if isinstance(words[0], wire.Report):
            return [wire.Accepted(assignment="a1")]
        return gives(words)

    agent, _ = one_shot(home, answer)
    assert await ended(agent) == "done"


async def test_work_given_back_for_the_owners_conditions_ends_the_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.02)
    (home / "conditions.toml").write_text("charging = true\ngrace_s = 0\n")

    class Machine:
        charging = True

        def read(self) -> Readings:
            return Readings(charging=self.charging)

    machine = Machine()

    def answer(words: list[wire.FromDevice]) -> list[wire.Message]:
        if isinstance(words[0], wire.Accept):
            machine.charging = False
        return gives(words)

    agent, gateway = one_shot(home, answer, AgentOptions(programs=False, meter=machine))
    trainer = EchoTrainer()
    trainer.hold = asyncio.Event()
    agent._execution._trainer = trainer
    assert "the owner's conditions do not hold now; retry_after" in await ended(agent)
    failed = gateway.heard[-1]
    assert isinstance(failed, wire.Fail)
    assert failed.code == "condition"


async def test_a_platform_that_served_it_may_be_away_for_a_while(home: Home) -> None:
    agent, _ = one_shot(home, lambda words: [IDLE])
    assert "nothing to do now" in await ended(agent)
    sign_in = httpx.Response(200, text="<h1>Welcome to the hotel</h1>")
    for _ in range(2):
        agent, _ = one_shot(home, gives)
        agent._client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: sign_in))
        assert "not as a Propius gateway" in await ended(agent)
        assert agent.outcome.retry_after_s


async def test_stopped_while_it_waits_it_ends_at_once(home: Home) -> None:
    waiting = asyncio.Event()

    def away(request: httpx.Request) -> httpx.Response:
        waiting.set()
        raise httpx.ConnectError("nobody there")

    options = AgentOptions(programs=False, backoff_base_s=3600.0, backoff_cap_s=3600.0)
    agent, _ = one_shot(home, gives, options)
    agent._client = httpx.AsyncClient(transport=httpx.MockTransport(away))
    running = asyncio.create_task(ended(agent))
    await waiting.wait()
    await agent.stop()
    assert "retry_after" in await running
