"""``propius device run --once`` against the real platform, over a network that breaks."""

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from propius.agent import enrolment, identity
from propius.agent.identity import Home
from propius.agent.oneshot import OneShot
from propius.agent.options import AgentOptions
from propius.agent.trainer import LocalOutcome, LocalWork
from propius.client import Client
from tests.e2e.running import RunningPlatform

ROWS = 400
OPTIONS = AgentOptions(programs=False, backoff_base_s=0.05, backoff_cap_s=0.2)


class AddOne:
    async def run(self, work: LocalWork, *, timeout_s: float, progress) -> LocalOutcome:
        found = load_file(work.parameters)
        work.output.write_bytes(save({name: one + 1 for name, one in found.items()}))
        return LocalOutcome(5.0, {"loss": 0.5})


class Breaking:
    """A way to a port that breaks after some bytes, ``breaks`` times, either direction."""

    def __init__(self, port: int, *, breaks: int, seed: int) -> None:
        self._port = port
        self._draw = random.Random(seed)
        self.left = breaks

    async def open(self) -> tuple[asyncio.Server, int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        budget = [self._draw.randrange(60_000, 500_000)] if self.left else [1 << 60]

        async def pipe(source, sink) -> None:
            while data := await source.read(16_384):
                budget[0] -= len(data)
                if budget[0] < 0:
                    self.left -= 1
                    return
                sink.write(data)
                await sink.drain()

        both = [asyncio.create_task(pipe(reader, back)), asyncio.create_task(pipe(there, writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for one in (writer, back):
                one.transport.abort()


@pytest.fixture(scope="module")
def pool(platform: RunningPlatform):
    made = json.loads(
        platform.manage(
            "provision", "--tenant", "once", "--pool", "once-pool", "--devices", "50"
        ).splitlines()[-1]
    )
    with Client(platform.url, made["tenants"]["once"]["token"]) as client:
        yield client, made["enrolment_token"]


def device(platform: RunningPlatform, token: str, folder: Path) -> Path:
    enrolment.enrol(platform.url, token, Home(folder))
    rows = np.zeros((5, 1), np.float32)
    np.savez(folder / "data.npz", x_train=rows, y_train=rows[:, 0].astype(int),
             x_val=rows, y_val=rows[:, 0].astype(int))  # fmt: skip
    (folder / "datasets.toml").write_text('[numbers]\npath = "data.npz"\n')
    (folder / "handlers.toml").write_text('[add]\ntrain = "none:none"\n')
    return folder


def submit(client: Client, *, demand: int, **changes) -> str:
    zeros = save({"weight": np.zeros((ROWS, ROWS), np.float32)})
    spec = {
        "schema": 1,
        "name": "once",
        "workload": {"kind": "handler", "handler": "add", "dataset": "numbers"},
        "parameters": client.upload_parameters(zeros),
        "rounds": {"count": 1, "demand": demand, "selection_s": 60, "deadline_s": 60,
                   "min_cohort": demand},
        "pools": ["once-pool"],
    }  # fmt: skip
    return str(client.submit_job(spec | changes)["id"])


async def run_until_done(home: Path) -> OneShot:
    """Start it again while it finds nothing, as cron would."""
    for _ in range(100):
        agent = OneShot(home=home, trainer=AddOne(), options=OPTIONS)
        await agent.run()
        if not agent.outcome.retry_after_s:
            return agent
        await asyncio.sleep(0.5)
    raise AssertionError(f"never anything to do: {agent.outcome}")


async def test_five_devices_make_a_round_with_a_private_constraint(platform, pool, tmp_path):
    client, token = pool
    private = {"private": {"examples": {"min": 5}}}
    job = await asyncio.to_thread(lambda: submit(client, demand=5, constraints=private))
    homes = [
        await asyncio.to_thread(device, platform, token, tmp_path / f"d{number}")
        for number in range(5)
    ]
    agents = await asyncio.gather(*(run_until_done(home) for home in homes))
    assert {one.outcome.message for one in agents} == {"done"}
    ended = await asyncio.to_thread(lambda: client.wait(job, timeout_s=60))
    assert ended["outcome"] == "completed"


async def test_a_network_that_breaks_in_both_directions_is_gone_on_from(platform, pool, tmp_path):
    client, token = pool
    job = await asyncio.to_thread(lambda: submit(client, demand=5))
    ways = []
    homes = []
    for number in range(5):
        home = await asyncio.to_thread(device, platform, token, tmp_path / f"b{number}")
        breaking = Breaking(platform.web_port, breaks=4, seed=number)
        server, port = await breaking.open()
        ways.append((breaking, server))
        known = identity.load_enrolment(Home(home))
        data = f"http://127.0.0.1:{port}/data/v1"
        changed = identity.Enrolment(
            device=known.device, gateway=known.gateway, pool=known.pool, data=data,
            pool_tenants=known.pool_tenants, attributes_schema=known.attributes_schema,
        )  # fmt: skip
        identity.save_enrolment(Home(home), changed)
        homes.append(home)
    await asyncio.gather(*(run_until_done(home) for home in homes))
    ended = await asyncio.to_thread(lambda: client.wait(job, timeout_s=60))
    assert ended["outcome"] == "completed"
    for breaking, server in ways:
        assert breaking.left < 4  # it did break
        server.close()


async def test_nothing_to_do_ends_with_when_to_come_back(platform, pool, tmp_path):
    _, token = pool
    home = await asyncio.to_thread(device, platform, token, tmp_path / "idle")
    agent = OneShot(home=home, trainer=AddOne(), options=OPTIONS)
    await agent.run()
    assert agent.outcome.message == "nothing to do now"
    assert 48 <= agent.outcome.retry_after_s <= 72
    assert "retry_after" in agent.outcome.words()


def test_the_command_ends_with_a_status_that_says_to_come_back(platform, pool, tmp_path):
    _, token = pool
    home = device(platform, token, tmp_path / "cli")
    command = [str(Path(sys.executable).with_name("propius")), "device", "run", "--once"]
    done = subprocess.run(
        [*command, "--home", str(home)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 75, done.stderr
    assert "nothing to do now; retry_after" in done.stdout
