"""Frames that websockets forbid, or that come when all has been said: the device's fault alone."""

from __future__ import annotations

import pytest

from gateway import consumer, sockets
from propius import wire
from tests.integration.gateway.hostile import close_code
from tests.integration.gateway.rawline import BINARY, CLOSE, TEXT, Frame, RawLine
from tests.integration.gateway.test_fuzzing import (
    connections,
    newer,
    no_faults,
    served_as_in_production,
    until,
)
from tests.integration.gateway.world import rows

NOT_UTF8 = b'{"type": "ping\x82"}'
GOODBYE = Frame(CLOSE, b"\x03\xe8")


@pytest.fixture
def earlier():
    return connections()


@pytest.fixture
async def line(gateway):
    with no_faults():
        async with served_as_in_production(gateway.application()) as port:
            yield await RawLine.open(port)
            await until(lambda: not gateway.hub.sockets)


async def codes(line: RawLine, *frames: Frame) -> list[int]:
    """Send the frames at once; return with which codes the gateway closed."""
    await line.hear()
    await line.write(b"".join(one.encoded() for one in frames))
    return [close_code(payload) for opcode, payload in await line.end("eof") if opcode == CLOSE]


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(TEXT, NOT_UTF8)],
        [Frame(TEXT, NOT_UTF8[:5], is_last=False), Frame(0, NOT_UTF8[5:])],
    ],
    ids=["whole", "in fragments"],
)
async def test_a_text_that_is_not_utf8_closes_and_is_no_fault_of_the_gateways(line, frames):
    assert await codes(line, *frames) == [1007]


async def test_fragments_without_end_are_cut_off_though_they_are_empty(line):
    empty = [Frame(0, b"", is_last=False)] * sockets.MAX_FRAGMENTS
    assert await codes(line, Frame(TEXT, b"", is_last=False), *empty) == [1009]


@pytest.mark.parametrize("last", [Frame(BINARY, b"\x01" * 20), Frame(TEXT, NOT_UTF8)])
async def test_what_comes_after_the_devices_goodbye_is_passed_over(line, last):
    assert await codes(line, GOODBYE, last) == [1000]


async def test_an_answer_that_is_late_for_a_broken_websocket_is_no_fault(line):
    assert await codes(line, Frame(BINARY, b"\x01" * 20), Frame(TEXT, NOT_UTF8)) == [1007]


async def test_a_refused_device_that_has_gone_is_forgotten_at_once(
    earlier, gateway, line, monkeypatch
):
    monkeypatch.setattr(consumer, "CLOSE_S", 600.0)
    await line.hear()
    await line.write(Frame(TEXT, b"{}").encoded())
    assert isinstance(await line.hear(), wire.Refused)
    await line.end("close")
    await until(lambda: not gateway.hub.sockets and not newer(earlier))


async def test_the_last_that_asked_for_work_is_forgotten_once_it_has_gone(earlier, gateway, world):
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    await socket.drop()
    await until(lambda: not gateway.hub.sockets and not newer(earlier))
