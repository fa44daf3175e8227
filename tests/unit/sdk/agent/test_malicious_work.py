"""Assignments that mean harm: each fails in words on both ends, and the agent goes on."""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from propius import arrays, wire
from propius.agent.agent import Agent, AgentOptions
from propius.agent.pool_trainer import PoolTrainer
from propius.program import container
from propius.program.schema import Node
from propius.training.pool import TrainerPool
from tests.unit.sdk.agent.scripted import Peer, assignment, blob, device_home, gateway, point_to
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters, with_nodes

GOOD = container.dump(linear())
MODEL = arrays.save(linear_parameters())


def bomb() -> bytes:
    """Ten megabytes of spaces in ten kilobytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in container.ENTRIES:
            archive.writestr(name, b" " * 10_000_000)
    return buffer.getvalue()


def climbing() -> bytes:
    """An entry whose name leads out of the folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../.ssh/authorized_keys", b"ssh-ed25519 AAAA")
    return buffer.getvalue()


def growing() -> bytes:
    """A tensor that doubles sixty times."""
    nodes = [Node(op="aten.repeat.default", inputs=["%p.bias", [1]], outputs=["v0"])]
    nodes += [
        Node(op="aten.cat.default", inputs=[[f"%v{i}", f"%v{i}"]], outputs=[f"v{i + 1}"])
        for i in range(60)
    ]
    return container.dump(with_nodes(*nodes, loss="%v60"))


def endless() -> bytes:
    """Hours of multiplications."""
    nodes = [Node(op="aten.ones.default", inputs=[[900, 900]], outputs=["v0"])]
    nodes += [
        Node(op="aten.mm.default", inputs=[f"%v{i}", "%v0"], outputs=[f"v{i + 1}"])
        for i in range(15_000)
    ]
    return container.dump(with_nodes(*nodes, loss="%v15000"))


def huge() -> bytes:
    nodes = Node(op="aten.zeros.default", inputs=[[1 << 20, 1 << 20]], outputs=["v0"])
    return container.dump(with_nodes(nodes))


def foreign() -> bytes:
    node = Node(op="os.system", inputs=["%i.x"], outputs=["v0"])
    return container.dump(with_nodes(node))


CASES = [
    (foreign(), "op_not_allowed", "op 'os.system' is not allowed"),
    (huge(), "bad_program_graph", "elements; at most"),
    (bomb(), "bad_program_container", "it is compressed"),
    (climbing(), "bad_program_container", "no such entry is allowed"),
    (growing(), "out_of_memory", "needs more memory than this device gives it"),
    (endless(), "trainer_timeout", "took longer than 2 s"),
]


def asked(number: int, program: bytes, **changes: Any) -> wire.Assignment:
    workload = {
        "kind": "program", "program": blob(program).digest, "dataset": "digits",
        "train": {"learning_rate": 0.1, "local_steps": 1, "batch_size": 2},
    }  # fmt: skip
    fields = {
        "parameters": MODEL, "program": blob(program), "workload": workload,
        # Short, so that a word of progress comes before the script loses patience.
        "lease_s": 4.0, "deadline_s": 60.0,
    }  # fmt: skip
    return assignment(f"a{number}", **{**fields, **changes})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = device_home(tmp_path / "outer" / "device")
    data = {f"{k}_{s}": v for s in ("train", "val") for k, v in linear_data().items()}
    np.savez(made / "digits.npz", **data)
    return made


async def said(peer: Peer, kind: type[Any], *contents: bytes) -> Any:
    """Return the next message of this kind, with patience for a busy machine; serve downloads.

    A device that failed asks for more after a while: that may come before it hears of the next.
    Downloads are served by digest: what is cached already is not asked for again.
    """
    by_digest = {blob(one).digest: one for one in contents}
    while True:
        message = wire.decode_from_device(await asyncio.wait_for(peer.socket.recv(), 60))
        if isinstance(message, kind):
            return message
        if isinstance(message, wire.Download):
            await peer.answer(message, by_digest[message.digest])
            continue
        assert isinstance(message, wire.CheckIn | wire.Progress | wire.Credit), message


@pytest.mark.torch
async def test_each_is_reported_in_words_and_the_next_good_work_is_done(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        for number, (program, code, words) in enumerate(CASES):
            deadline_s = 1.0 if code == "trainer_timeout" else 60.0
            await peer.send(asked(number, program, deadline_s=deadline_s))
            await said(peer, wire.Accept)
            failed = await said(peer, wire.Fail, MODEL, program)
            assert (failed.assignment, failed.code) == (f"a{number}", code)
            assert words in failed.message
        outside = "../../escaped"
        await peer.send(msgspec.structs.replace(asked(9, GOOD), id=outside))
        await said(peer, wire.Accept)
        asked_for = await said(peer, wire.Upload, MODEL, GOOD)
        assert set(arrays.load(await peer.take(asked_for))) == {"weight", "bias"}
        await peer.send(wire.Accepted(assignment=outside))

    async with TrainerPool(1, 600) as pool, gateway(script) as one:
        point_to(home, one.url)
        agent = Agent(home=home, trainer=PoolTrainer(pool), options=AgentOptions())
        serving = asyncio.create_task(agent.run())
        await asyncio.wait_for(one.done.wait(), 90)
        for error in one.errors:
            raise error
        await agent.stop()
        await serving
    told = " ".join(record.getMessage() for record in caplog.records)
    for _, code, _ in CASES:
        assert f"training.failed {code}" in told, "the owner reads it in the log"
    assert [path.name for path in home.parent.iterdir()] == ["device"], "nothing climbed out"
