"""A device made for protocol 1 at the whole gateway, today's and one that speaks 2 as well.

It says the words of the frozen transcript, and refuses what the schema of then does not know.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from propius import wire
from tests.golden.test_version_1 import SCHEMA, lines, shapes
from tests.integration.gateway.sockets import FakeDevice, Socket
from tests.integration.gateway.world import ONES, ZEROS, digest_of, rows

HEARS = shapes("FromGateway")
SAID = [one["message"] for one in lines("socket.jsonl") if "message" in one]


class OldDevice:
    """Plain JSON, without today's types."""

    def __init__(self, device: FakeDevice, socket: Socket) -> None:
        self._device = device
        self._socket = socket

    def say(self, kind: str, **changes: Any) -> None:
        words = next(one for one in SAID if one["type"] == kind)
        assert changes.keys() <= words.keys()
        self._socket.text(json.dumps(words | changes))

    async def hear(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind; idle and credit may come before it."""
        while True:
            frame = await self._socket.frame()
            if frame["type"] == "websocket.accept":
                continue
            message: dict[str, Any] = json.loads(frame["text"])
            jsonschema.validate(message, HEARS[message["type"]] | {"$defs": SCHEMA})
            if message["type"] == kind:
                return message
            assert message["type"] in ("idle", "credit"), message

    async def sign_in(self) -> dict[str, Any]:
        challenge = await self.hear("challenge")
        assert 1 in challenge["protocols"]
        device = self._device.id
        signature = self._device.key.sign(wire.proof(challenge["nonce"], device)).hex()
        known = {"attributes": {"cpu_score": 3}, "workloads": {"handler": ["train"]}}
        self.say("hello", device=device, signature=signature, **known)
        return await self.hear("welcome")

    async def download(self, held: dict[str, Any]) -> None:
        self.say("download", assignment=held["id"], digest=held["parameters"]["digest"])
        frame = await self._socket.frame()
        assert wire.unpack_chunk(frame["bytes"])[2] == ZEROS
        self.say("credit", transfer=1, size_bytes=len(ZEROS))

    async def upload(self, held: dict[str, Any]) -> None:
        announced = {"digest": digest_of(ONES), "size_bytes": len(ONES)}
        self.say("upload", assignment=held["id"], **announced)
        ready = await self.hear("upload_ready")
        assert ready["offset"] == 0
        self._socket.bytes(b"\x01" + bytes(3) + (2).to_bytes(4) + bytes(8) + ONES)
        assert (await self.hear("accepted"))["assignment"] == held["id"]


@pytest.mark.parametrize("supported", [wire.SUPPORTED, (1, 2)])
async def test_it_is_served_from_offer_to_result(world, monkeypatch, supported):
    monkeypatch.setattr(wire, "SUPPORTED", supported)
    device = await rows(world.device)
    asked = {"classes": {"min": 3}}
    await rows(lambda: world.job(constraints__private=asked))
    # A newer device asks for what it would rather have; the framing has one name.
    socket = Socket(world.application, subprotocols=("propius.v2", wire.SUBPROTOCOL))
    old = OldDevice(device, socket)
    assert (await old.sign_in())["resume"] is None
    old.say("check_in")
    offer = await old.hear("offer")
    old.say("choose", offer=offer["offer"], ranked=[offer["candidates"][0]["round"]], refused={})
    held = await old.hear("assignment")
    old.say("accept", assignment=held["id"])
    await old.download(held)
    old.say("progress", assignment=held["id"])
    old.say("ping")
    await old.hear("pong")
    await socket.drop()

    again = Socket(world.application)
    old = OldDevice(device, again)
    assert (await old.sign_in())["resume"]["id"] == held["id"]
    await old.upload(held)
    old.say("leave")
    assert await again.closed() == 1000
