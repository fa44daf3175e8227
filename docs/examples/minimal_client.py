"""A device in one file, written from docs/protocol.md alone: no Propius inside.

Python's standard library, ``websockets``, and ``cryptography`` for Ed25519, which Python lacks. It
serves the one handler and the data set that ``propius conformance`` asks for; ``minimal_once.py``
beside it does the same in one-shot mode.

    propius conformance --mode socket --client "python docs/examples/minimal_client.py"
"""

import asyncio
import hashlib
import json
import os
import struct
import sys
import time
import urllib.request

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

PRIVATE, WEIGHT = {"examples": 10}, 10.0
KEY = Ed25519PrivateKey.generate()


def enrol():
    token, key = os.environ["PROPIUS_TOKEN"], KEY.public_key().public_bytes_raw().hex()
    body = json.dumps({"token": token, "public_key": key, "sdk": "minimal 1"}).encode()
    url = os.environ["PROPIUS_URL"] + "/api/v1/devices/enrol"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def hello(device, nonce):
    signed = b"propius hello v1\n" + nonce.encode() + b"\n" + device.encode()
    return {
        "type": "hello", "protocol": 1, "device": device, "signature": KEY.sign(signed).hex(),
        "sdk": "minimal 1", "attributes": {}, "workloads": {"handler": ["add_one"]},
    }  # fmt: skip


def choose(offer):
    def holds(conditions):
        return all(one.get("min", 0) <= PRIVATE.get(name, -1) <= one.get("max", 1e300)
                   and PRIVATE.get(name) in one.get("in", [PRIVATE.get(name)])
                   for name, one in conditions.items())  # fmt: skip

    fits = {one["round"]: holds(one["constraints"]) for one in offer["candidates"]}
    refused = {name: "private_constraint" for name, does in fits.items() if not does}
    ranked = [name for name, does in fits.items() if does]
    return {"type": "choose", "offer": offer["offer"], "ranked": ranked, "refused": refused}


def add_one(file):
    """Return a safetensors file with 1 added to each float32 value."""
    start = 8 + struct.unpack_from("<Q", file)[0]
    values = struct.unpack(f"<{(len(file) - start) // 4}f", file[start:])
    return file[:start] + struct.pack(f"<{len(values)}f", *(one + 1 for one in values))


def described(work, update):
    return {"type": "upload", "assignment": work["id"], "weight": WEIGHT,
            "digest": hashlib.sha256(update).hexdigest(), "size_bytes": len(update)}  # fmt: skip


class Socket:
    """The websocket mode: one connection after another, one assignment at a time."""

    def __init__(self, known):
        self.known, self.work, self.have, self.update = known, None, b"", None
        self.training, self.transfer, self.wait_s = None, 0, 0.0

    async def run(self):
        while True:
            try:
                async with connect(self.known["gateway"], subprotocols=["propius.v1"],
                                   compression=None, ping_interval=None) as line:  # fmt: skip
                    await self.serve(line)
            except (ConnectionClosed, OSError):
                pass
            await asyncio.sleep(max(0.2, self.wait_s))
            self.wait_s = 0.0

    async def say(self, kind, **fields):
        await self.line.send(json.dumps({"type": kind, **fields}))

    async def serve(self, line):
        self.line, silence_s = line, 10.0
        while True:
            try:
                frame = await asyncio.wait_for(line.recv(), silence_s)
            except TimeoutError:
                await self.idle()
                continue
            if isinstance(frame, bytes):
                await self.chunk(frame)
                continue
            message = json.loads(frame)
            if message["type"] == "welcome":
                silence_s = message["ping_s"]
            await getattr(self, "on_" + message["type"], self.on_nothing)(message)

    async def idle(self):
        if self.work:
            await self.say("progress", assignment=self.work["id"], phase="training")
        else:
            await self.say("ping")

    async def on_nothing(self, _):
        """idle, pong: nothing to do."""

    async def on_challenge(self, message):
        if 1 not in message["protocols"]:
            sys.exit(f"the gateway speaks {message['protocols']}, this client 1")
        await self.line.send(json.dumps(hello(self.known["device"], message["nonce"])))

    async def on_welcome(self, message):
        resume = message["resume"]
        if resume is None:
            await self.over()
        elif self.work and self.work["id"] == resume["id"]:
            await (self.announce() if self.update else self.fetch())
        else:
            await self.on_assignment(resume)

    async def on_offer(self, message):
        await self.line.send(json.dumps(choose(message)))

    async def on_assignment(self, work):
        self.work, self.have, self.update = work, b"", None
        await self.say("accept", assignment=work["id"])
        await self.fetch()

    async def fetch(self):
        self.transfer += 1
        await self.say("download", assignment=self.work["id"], transfer=self.transfer,
                       digest=self.work["parameters"]["digest"], offset=len(self.have))  # fmt: skip

    async def chunk(self, frame):
        _, transfer, offset = struct.unpack_from("!BxxxIQ", frame)
        if transfer != self.transfer or offset != len(self.have):
            return
        self.have += frame[16:]
        if len(self.have) < self.work["parameters"]["size_bytes"]:
            await self.say("credit", transfer=transfer, size_bytes=len(frame) - 16)
        elif hashlib.sha256(self.have).hexdigest() != self.work["parameters"]["digest"]:
            self.have = b""
            await self.fetch()
        else:
            self.training = asyncio.create_task(self.train(self.work))

    async def train(self, work):
        ends = time.monotonic() + work["workload"]["config"].get("seconds", 0)
        while time.monotonic() < ends:
            await asyncio.sleep(min(work["lease_s"] / 3, max(0, ends - time.monotonic())))
            await self.say("progress", assignment=work["id"], phase="training")
        if work["kind"] == "evaluate":
            await self.say("report", assignment=work["id"], weight=WEIGHT, metrics={"loss": 0})
            return
        self.update = add_one(self.have)
        await self.announce()

    async def announce(self):
        self.transfer += 1
        order = described(self.work, self.update) | {"transfer": self.transfer}
        await self.line.send(json.dumps(order))

    async def on_upload_ready(self, message):
        self.sent = message["offset"]
        await self.on_credit(message | {"size_bytes": message["credit"]})

    async def on_credit(self, message):
        end = self.sent + message["size_bytes"]
        while self.update and self.sent < min(end, len(self.update)):
            part = self.update[self.sent : min(end, self.sent + 131_072)]
            await self.line.send(struct.pack("!BxxxIQ", 1, self.transfer, self.sent) + part)
            self.sent += len(part)

    async def over(self, _=None):
        if self.training:
            self.training.cancel()
        self.work = self.update = self.training = None
        await self.say("check_in")

    on_accepted = on_cancelled = over

    async def on_refused(self, message):
        if message.get("fatal"):
            sys.exit(f"{message['code']}: {message['message']}")
        await self.over()

    async def on_retry(self, message):
        self.wait_s = message["after_s"]


if __name__ == "__main__":
    asyncio.run(Socket(enrol()).run())
