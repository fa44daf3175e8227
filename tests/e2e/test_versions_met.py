"""A device leaves the real platform, and meets one of another version."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from propius import wire
from propius.agent import departure, enrolment, identity
from propius.agent.agent import Agent, AgentOptions
from propius.agent.connection import AgentStopped
from propius.agent.identity import Home
from tests.e2e.running import RunningPlatform
from tests.unit.sdk.agent.scripted import EchoTrainer

Mangle = Callable[[str | bytes], str | bytes]


class Proxy:
    """Passes frames on, those to the device as `mangle` makes them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.mangle: Mangle = lambda frame: frame

    async def serve(self, device: ServerConnection) -> None:
        async with connect(
            self.target, subprotocols=[wire.SUBPROTOCOL], compression=None, max_size=None
        ) as gateway:
            ways = {
                asyncio.create_task(self._pass("to gateway", device, gateway)),
                asyncio.create_task(self._pass("to device", gateway, device)),
            }
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for one in (device, gateway):
                one.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, way, source, sink):  # type: ignore[no-untyped-def]
        with contextlib.suppress(ConnectionClosed):
            async for frame in source:
                await sink.send(self.mangle(frame) if way == "to device" else frame)


class World:
    """A pool of the platform that devices can join."""

    def __init__(self, platform: RunningPlatform, folder: Path, slug: str) -> None:
        made = json.loads(
            platform.manage(
                "provision", "--tenant", slug, "--pool", f"{slug}-pool", "--devices", "12"
            ).splitlines()[-1]
        )
        self.platform = platform
        self.token = made["enrolment_token"]
        self.folder = folder

    def enrol(self, name: str) -> Home:
        home = Home(self.folder / name)
        enrolment.enrol(self.platform.url, self.token, home, name=name)
        (home / "attributes.toml").write_text("cpu_score = 1.0\n")
        return home


@pytest.fixture(scope="module")
def world(
    platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory
) -> World:  # fmt: skip
    return World(platform, tmp_path_factory.mktemp("versions"), "versions")


@contextlib.asynccontextmanager
async def through(home: Home):  # type: ignore[no-untyped-def]
    """Put the proxy between the device and its gateway."""
    enrolled = identity.load_enrolment(home)
    proxy = Proxy(enrolled.gateway)
    async with serve(
        proxy.serve, "127.0.0.1", 0, subprotocols=[wire.SUBPROTOCOL], compression=None,
        max_size=None,
    ) as server:  # fmt: skip
        port = server.sockets[0].getsockname()[1]
        near = msgspec.structs.replace(enrolled, gateway=f"ws://127.0.0.1:{port}/device/v1")
        identity.save_enrolment(home, near)
        yield proxy


def agent_of(home: Home) -> Agent:
    options = AgentOptions(programs=False, backoff_base_s=0.02, backoff_cap_s=0.1)
    return Agent(home=home.path, trainer=EchoTrainer(), options=options)


def speaking(protocols: list[int], heard: list[str] | None = None) -> Mangle:
    """Let the gateway say that it speaks these; note in ``heard`` what it says besides."""

    def other(frame: str | bytes) -> str | bytes:
        message = json.loads(frame) if isinstance(frame, str) else {}
        if heard is not None:
            heard.append(message.get("type", "chunk"))
        if message.get("type") != "challenge":
            return frame
        return json.dumps(message | {"protocols": protocols})

    return other


async def test_a_device_that_leaves_is_unknown_to_the_platform_afterwards(world: World) -> None:
    home = world.enrol("leaver")
    key, enrolled = identity.load_key(home), identity.load_enrolment(home)
    done = await asyncio.to_thread(departure.leave, home, erase=True)
    assert done.revoked, done.why_not
    assert not (home / "device.key").exists()
    # A copy of the key does not come in again.
    identity.write_private(home / "device.key", key.private_bytes_raw().hex().encode())
    identity.save_enrolment(home, enrolled)
    with pytest.raises(AgentStopped, match="enrolment token") as stopped:
        await asyncio.wait_for(agent_of(home).run(), 20)
    assert stopped.value.code == "device_revoked"


@pytest.mark.parametrize(
    ("protocols", "words"),
    [([0], "the gateway speaks protocol"), ([7, 8], "the gateway speaks protocol")],
)
async def test_an_older_or_newer_server_is_met_with_words(
    world: World, protocols: list[int], words: str
) -> None:
    home = world.enrol(f"meets-{protocols[0]}")
    async with through(home) as proxy:
        proxy.mangle = speaking(protocols)
        with pytest.raises(AgentStopped, match=words) as stopped:
            await asyncio.wait_for(agent_of(home).run(), 20)
    assert "pip install --upgrade propius-sdk" in str(stopped.value)


async def test_a_server_that_speaks_a_newer_protocol_as_well_serves_this_device(
    world: World,
) -> None:
    home, heard = world.enrol("meets-both"), list[str]()
    async with through(home) as proxy:
        proxy.mangle = speaking([1, 2], heard)
        agent = agent_of(home)
        running = asyncio.create_task(agent.run())
        async with asyncio.timeout(20):
            while "idle" not in heard:
                await asyncio.sleep(0.02)
        await agent.stop()
        await asyncio.wait_for(running, 20)
    assert heard == ["challenge", "welcome", "idle"]
