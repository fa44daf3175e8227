"""A device's side of transfers, for ``benchmarks.transfer``: it hashes what it takes."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection

from propius import wire
from propius.agent.downloads import RETURN_CREDIT
from propius.agent.uploads import CHUNK


async def hear(socket: ClientConnection, kind: type[Any]) -> Any:
    """Return the next message, which is a ``kind``."""
    said = wire.decode_from_gateway(await socket.recv())
    if not isinstance(said, kind):
        raise SystemExit(f"{said} in place of {kind.__name__}")
    return said


async def assigned(socket: ClientConnection) -> wire.Assignment:
    """Check in, and accept what is given."""
    await socket.send(wire.encode(wire.CheckIn()))
    while isinstance(said := wire.decode_from_gateway(await socket.recv()), wire.Idle):
        pass
    if not isinstance(said, wire.Assignment):
        raise SystemExit(f"{said} in place of an assignment")
    await socket.send(wire.encode(wire.Accept(assignment=said.id)))
    return said


async def chunk(socket: ClientConnection) -> bytes:
    """Return the next binary frame."""
    piece = await socket.recv()
    if isinstance(piece, str):
        raise SystemExit(f"{piece} in place of bytes")
    return piece


async def download(socket: ClientConnection, assignment: wire.Assignment, digest: str) -> None:
    """Take the parameters, and check their digest."""
    ask = wire.Download(assignment=assignment.id, transfer=1, digest=digest)
    await socket.send(wire.encode(ask))
    taken, done, owed = hashlib.sha256(), 0, 0
    while done < assignment.parameters.size_bytes:
        _, _, payload = wire.unpack_chunk(await chunk(socket))
        taken.update(payload)
        done, owed = done + len(payload), owed + len(payload)
        if owed >= RETURN_CREDIT:
            await socket.send(wire.encode(wire.Credit(transfer=1, size_bytes=owed)))
            owed = 0
    same(taken.hexdigest(), digest)


async def upload(socket: ClientConnection, assignment: wire.Assignment, data: bytes) -> None:
    """Send the update until it counts."""
    announced = wire.Upload(
        assignment=assignment.id, transfer=2, digest=digest(data), size_bytes=len(data), weight=1
    )
    await socket.send(wire.encode(announced))
    ready = await hear(socket, wire.UploadReady)
    offset, credit = ready.offset, ready.credit
    while offset < len(data):
        while credit <= 0:
            credit += (await hear(socket, wire.Credit)).size_bytes
        part = data[offset : offset + min(credit, CHUNK)]
        await socket.send(wire.pack_chunk(2, offset, part))
        offset, credit = offset + len(part), credit - len(part)
    while isinstance(said := wire.decode_from_gateway(await socket.recv()), wire.Credit):
        pass
    if not isinstance(said, wire.Accepted):
        raise SystemExit(f"the update was not taken: {said}")


async def timed(work: Callable[[], None]) -> float:
    """Return the seconds that ``work`` takes, in a thread."""
    began = time.perf_counter()
    await asyncio.to_thread(work)
    return time.perf_counter() - began


def get(line: http.client.HTTPConnection, path: str, headers: dict[str, str], digest: str) -> None:
    """Take a body, and check its digest."""
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    taken = hashlib.sha256()
    while piece := answer.read(CHUNK):
        taken.update(piece)
    same(taken.hexdigest(), digest)


def put(
    line: http.client.HTTPConnection,
    path: str,
    headers: dict[str, str],
    data: bytes,
    expected: bytes,
) -> None:
    """Send a body; the answer holds ``expected``."""
    line.request("PUT", path, body=data, headers=headers)
    answer = line.getresponse().read()
    if expected not in answer:
        raise SystemExit(f"the update was not taken: {answer!r}")


def digest(data: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(data).hexdigest()


def same(found: str, wanted: str) -> None:
    """End the benchmark if the bytes are others."""
    if found != wanted:
        raise SystemExit(f"the bytes have digest {found}, not {wanted}")
