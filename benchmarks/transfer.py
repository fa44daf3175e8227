"""How fast one device's parameters go down and its update up, against a bare server's best.

    make bench NAME=transfer
    .venv/bin/python -m benchmarks.transfer --megabytes 1 --repeats 1

The real process set, and beside it ``benchmarks.bare``: raw ASGI that hashes and fsyncs the same
bytes. One client does all, first here, then there, over a websocket and over HTTP: it hashes what
comes down, and its update counts only when the platform has accepted it, checks, fsync and commit
included. ``share`` is the median over the repeats of the bare server's time over the platform's in
the same repeat, so a machine that is busy for a while slows both. Each repeat is a device of its
own, since an assignment takes one update.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import http.client
import statistics
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from websockets.asyncio.client import ClientConnection

from benchmarks import carrier, process_set, result
from benchmarks.devices import Device
from propius import arrays, wire
from propius.agent.connection import open_socket
from propius.agent.uploads import CHUNK

MEGABYTES, REPEATS, WARM_UP = 100, 7, 1
TENSORS = 4
READY_S = 30.0
KINDS = ("websocket", "http")
TARGETS = {f"{kind}_{way}_share": (">=", 0.5) for kind in KINDS for way in ("down", "up")}
QUIET = {"PROPIUS_FOLD_BATCH": "1000", "PROPIUS_LEASE_S": "3600", "PROPIUS_PING_S": "3600"}
"""All devices are there from the first, and wait for their turn; nothing is folded meanwhile."""
Figures = dict[str, Any]
Times = defaultdict[str, list[float]]
Held = tuple[ClientConnection, wire.Assignment]


class Bench:
    """A job of large parameters, and a device for each repeat of each kind."""

    def __init__(self, platform: process_set.ProcessSet, megabytes: int, devices: int) -> None:
        from django.utils import timezone

        import jobs.services
        from benchmarks.world import World
        from propius.client import Client
        from tenants import services as tenant_services

        now = timezone.now()
        self.platform = platform
        world = World(1, "transfer")
        self.devices = world.devices(devices)
        _, secret = tenant_services.create_token(
            tenant_id=world.tenants[0], name="bench", scopes=None, created_by="bench", now=now,
        )  # fmt: skip
        shape = (4, megabytes * 1_000_000 // (16 * TENSORS))
        self.content = arrays.save(
            {f"layer{n}.weight": np.ones(shape, np.float32) for n in range(TENSORS)}
        )
        self.digest = carrier.digest(self.content)
        with Client(f"http://127.0.0.1:{platform.web_port}", secret) as client:
            digest = client.upload_parameters(self.content)
        job = jobs.services.submit(
            tenant_id=world.tenants[0], raw=_spec(digest, devices), submitted_by="bench",
            now=now,
        )  # fmt: skip
        # By hand: the platform would wait for devices that it has seen before.
        jobs.services.admit(job_id=job.id, numbers={}, now=now)

    def update(self, number: int) -> bytes:
        """Return the parameters with another last number: no two updates are one blob."""
        return self.content[:-4] + struct.pack("<f", float(number))

    async def begin(self) -> list[Held]:
        """Sign all devices in, and return what each has been given."""
        sockets = [await self._signed_in(device) for device in self.devices]
        given = await asyncio.gather(*map(carrier.assigned, sockets))
        return list(zip(sockets, given, strict=True))

    async def websocket(self, held: Held, data: bytes) -> tuple[float, float]:
        """Return the seconds down and up."""
        socket, assignment = held
        began = time.perf_counter()
        await carrier.download(socket, assignment, self.digest)
        down = time.perf_counter() - began
        began = time.perf_counter()
        await carrier.upload(socket, assignment, data)
        return down, time.perf_counter() - began

    async def http(self, held: Held, data: bytes) -> tuple[float, float]:
        """Return the seconds down and up; the session stays open meanwhile."""
        _, assignment = held
        line = http.client.HTTPConnection("127.0.0.1", self.platform.web_port)
        auth = {"Authorization": f"Bearer {assignment.ticket}"}
        down = await carrier.timed(
            lambda: carrier.get(line, f"/data/v1/parameters/{self.digest}", auth, self.digest)
        )
        headers = auth | {
            "Upload-Digest": carrier.digest(data), "Upload-Length": str(len(data)),
            "Update-Weight": "1",
        }  # fmt: skip
        up = await carrier.timed(
            lambda: carrier.put(
                line, f"/data/v1/updates/{assignment.id}", headers, data, b"accepted"
            )
        )
        line.close()
        return down, up

    async def _signed_in(self, device: Device) -> ClientConnection:
        socket = await open_socket(f"ws://127.0.0.1:{self.platform.gateway_port}/device/v1")
        challenge = await carrier.hear(socket, wire.Challenge)
        proof = wire.proof(challenge.nonce, device.identifier)
        hello = wire.Hello(
            protocol=wire.PROTOCOL, device=device.identifier,
            signature=device.key.sign(proof).hex(), sdk="bench", attributes={},
            workloads={"handler": ["noop"]},
        )  # fmt: skip
        await socket.send(wire.encode(hello))
        await carrier.hear(socket, wire.Welcome)
        return socket


class Yardstick:
    """The same transfers with the bare server."""

    def __init__(self, port: int, content: bytes) -> None:
        self._port = port
        self._digest = carrier.digest(content)
        self._size = len(content)

    async def websocket(self, data: bytes) -> tuple[float, float]:
        """Return the seconds down and up."""
        async with await open_socket(f"ws://127.0.0.1:{self._port}/") as socket:
            began = time.perf_counter()
            await socket.send("down")
            taken = hashlib.sha256()
            left = self._size
            while left:
                piece = await carrier.chunk(socket)
                taken.update(piece)
                left -= len(piece)
            carrier.same(taken.hexdigest(), self._digest)
            down = time.perf_counter() - began
            began = time.perf_counter()
            digest = carrier.digest(data)
            await socket.send(str(len(data)))
            for start in range(0, len(data), CHUNK):
                await socket.send(data[start : start + CHUNK])
            carrier.same(str(await socket.recv()), digest)
            return down, time.perf_counter() - began

    async def http(self, data: bytes) -> tuple[float, float]:
        """Return the seconds down and up."""
        line = http.client.HTTPConnection("127.0.0.1", self._port)
        down = await carrier.timed(lambda: carrier.get(line, "/", {}, self._digest))
        up = await carrier.timed(
            lambda: carrier.put(line, "/", {}, data, carrier.digest(data).encode())
        )
        line.close()
        return down, up


@contextmanager
def bare_server(folder: Path, content: bytes) -> Iterator[Yardstick]:
    """Run ``benchmarks.bare`` on the disk that the platform uses."""
    folder.mkdir()
    (folder / "down").write_bytes(content)
    [port] = process_set.free_ports(1)
    command = [sys.executable, "-m", "benchmarks.bare", str(port), str(folder)]
    process = subprocess.Popen(command, cwd=process_set.ROOT)
    try:
        until = time.monotonic() + READY_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the bare server did not start")
            time.sleep(0.05)
        yield Yardstick(port, content)
    finally:
        process.terminate()
        process.wait(timeout=30)


async def measure(bench: Bench, bare: Yardstick, repeats: int) -> Figures:
    """Transfer with both, in turns."""
    ours, theirs = Times(list), Times(list)
    devices = iter(enumerate(await bench.begin()))
    for repeat in range(WARM_UP + repeats):
        for kind in KINDS:
            number, held = next(devices)
            data = bench.update(number)
            for times, took in (
                (ours, await getattr(bench, kind)(held, data)),
                (theirs, await getattr(bare, kind)(data)),
            ):
                if repeat >= WARM_UP:
                    for way, seconds in zip(("down", "up"), took, strict=True):
                        times[f"{kind}_{way}"].append(seconds)
    megabytes = len(bench.content) / 1e6
    figures: Figures = {"megabytes": round(megabytes, 1), "repeats": repeats}
    for name in ours:
        shares = [bare / own for own, bare in zip(ours[name], theirs[name], strict=True)]
        figures[f"{name}_share"] = round(statistics.median(shares), 3)
        figures[f"{name}_mb_per_s"] = round(megabytes / statistics.median(ours[name]), 1)
        figures[f"{name}_bare_mb_per_s"] = round(megabytes / statistics.median(theirs[name]), 1)
    return figures


def run(platform: process_set.ProcessSet, megabytes: int, repeats: int) -> Figures:
    """Set the platform against a bare server on its disk."""
    bench = Bench(platform, megabytes, len(KINDS) * (repeats + WARM_UP))
    with bare_server(platform.paths.home / "bare", bench.content) as bare:
        return uvloop.run(measure(bench, bare, repeats))


def _spec(digest: str, devices: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "transfer",
        "workload": {"kind": "handler", "handler": "noop", "dataset": "numbers"},
        "parameters": digest,
        # More than there are: nothing is closed beside the transfers.
        "rounds": {
            "count": 1, "demand": devices + 5, "selection_s": 3600, "deadline_s": 3600,
        },
    }  # fmt: skip


def _listens(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port)
    try:
        line.request("GET", "/")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def main() -> None:
    """Start the platform and the bare server, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    with process_set.running(**QUIET) as platform:
        figures = run(platform, options.megabytes, options.repeats)
    print(result.line("transfer", figures, TARGETS))


if __name__ == "__main__":
    main()
