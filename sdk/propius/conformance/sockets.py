"""The cases over websockets. Each is a script of the gateway; what it expects, it says."""

from __future__ import annotations

import asyncio
import hashlib

from propius import wire
from propius.conformance.gateway import Failed, Gateway, Peer, assignment, tensors, values_of

SMALL = tensors(1_000, 1.0)
LARGE = tensors(500_000, 1.0)
CHUNK = 128 * 1024


async def hello(gateway: Gateway) -> None:
    """signs the nonce, checks in, pings while it idles"""
    peer = await ready(gateway)
    await peer.send(wire.Idle())
    await peer.expect(wire.Ping)
    await peer.send(wire.Pong())


async def bad_version(gateway: Gateway) -> None:
    """says nothing to a gateway that speaks another version only"""
    peer = await gateway.connection()
    await peer.send(wire.Challenge(nonce=gateway.nonce(), protocols=[99]))
    try:
        one = await asyncio.wait_for(peer.frame(), 2.0)
    except (Failed, TimeoutError):
        return  # it closed, as it should; or kept silent
    raise Failed(f"{type(one).__name__.lower()} came in a version that is not spoken")


async def train(gateway: Gateway) -> None:
    """accepts, downloads within its credit, trains, uploads within ours"""
    peer = await ready(gateway)
    await finish(peer, await give(peer, assignment(LARGE), LARGE), LARGE)


async def evaluate(gateway: Gateway) -> None:
    """reports an evaluation"""
    peer = await ready(gateway)
    given = assignment(SMALL, kind="evaluate")
    await give(peer, given, SMALL)
    report = await peer.expect(wire.Report)
    if report.weight != 10:
        raise Failed(f"weight {report.weight}; the data set has 10 examples")
    await peer.send(wire.Accepted(assignment=given.id))
    await peer.expect(wire.CheckIn)


async def private_constraints(gateway: Gateway) -> None:
    """chooses what its private data allows, and says of the rest only that"""
    peer = await ready(gateway)
    await peer.send(offer())
    check_choice(await peer.expect(wire.Choose))
    await finish(peer, await give(peer, assignment(SMALL), SMALL), SMALL)


async def lease(gateway: Gateway) -> None:
    """says progress while it trains"""
    peer = await ready(gateway)
    given = assignment(SMALL, lease_s=1.5, workload=slow(2.5))
    await give(peer, given, SMALL)
    peer.between.clear()
    await finish(peer, given, SMALL)
    if not any(isinstance(one, wire.Progress) for one in peer.between):
        raise Failed("no progress in 2.5 s of training, with a lease of 1.5 s")


async def cancelled(gateway: Gateway) -> None:
    """lets go of what is cancelled, and checks in again"""
    peer = await ready(gateway)
    given = assignment(SMALL, workload=slow(30))
    await give(peer, given, SMALL)
    await peer.send(wire.Cancelled(assignment=given.id, code="round_closed"))
    await peer.expect(wire.CheckIn)


async def retry(gateway: Gateway) -> None:
    """comes back when told to, not sooner"""
    peer = await ready(gateway)
    told_at = asyncio.get_running_loop().time()
    await peer.send(wire.Retry(after_s=1.0, code="busy", message="later"))
    await peer.close(1013)
    await ready(gateway)
    waited_s = asyncio.get_running_loop().time() - told_at
    if waited_s < 1.0:
        raise Failed(f"it came back after {waited_s:.2f} s; 1 s was asked for")


async def download_resumed(gateway: Gateway) -> None:
    """goes on with a download after a break"""
    peer = await ready(gateway)
    given = assignment(LARGE)
    await peer.send(given)
    await peer.expect(wire.Accept)
    order = await peer.expect(wire.Download)
    await peer.chunk(order.transfer, 0, LARGE[:CHUNK])
    await peer.drop()
    peer = await gateway.connection()
    await peer.hello(gateway, resume=given)
    order = await peer.expect(wire.Download, besides=wire.Accept)
    if order.offset > CHUNK:
        raise Failed(f"it asks from byte {order.offset}; {CHUNK} were sent")
    await serve_download(peer, order, LARGE)
    await finish(peer, given, LARGE)


async def upload_resumed(gateway: Gateway) -> None:
    """goes on with an upload after a break"""
    peer = await ready(gateway)
    given = await give(peer, assignment(LARGE), LARGE)
    order = await peer.expect(wire.Upload)
    await peer.send(wire.UploadReady(transfer=order.transfer, offset=0, credit=CHUNK))
    part = await chunks(peer, order, 0, 1)
    await peer.drop()
    peer = await gateway.connection()
    await peer.hello(gateway, resume=given)
    again = await peer.expect(wire.Upload, besides=wire.Accept)
    if again.digest != order.digest:
        raise Failed("it announces another update than before the break")
    ready_again = wire.UploadReady(
        transfer=again.transfer, offset=len(part), credit=again.size_bytes
    )
    await peer.send(ready_again)
    rest = await chunks(peer, again, len(part), again.size_bytes - len(part))
    await accept(peer, given, again, part + rest)


async def refused(gateway: Gateway) -> None:
    """takes a refusal of its update, and checks in again"""
    peer = await ready(gateway)
    given = await give(peer, assignment(SMALL), SMALL)
    order = await peer.expect(wire.Upload)
    ready_ = wire.UploadReady(transfer=order.transfer, offset=0, credit=order.size_bytes)
    await peer.send(ready_)
    await chunks(peer, order, 0, order.size_bytes)
    errors = {"tensors.weight": "not finite"}
    said = wire.Refused(code="not_finite", message="not finite", assignment=given.id, errors=errors)
    await peer.send(said)
    await peer.expect(wire.CheckIn)


CASES = (
    hello, bad_version, train, evaluate, private_constraints, lease, cancelled, retry,
    download_resumed, upload_resumed, refused,
)  # fmt: skip


# --- parts of them --------------------------------------------------------------------------------


async def ready(gateway: Gateway) -> Peer:
    """Take a connection as far as its check-in."""
    peer = await gateway.connection()
    await peer.hello(gateway)
    await peer.expect(wire.CheckIn)
    return peer


def offer() -> wire.Offer:
    """Return two rounds: one that ten examples satisfy, one that they do not."""
    workload = assignment(SMALL).workload
    candidates = [
        wire.Candidate(
            round=name, job=f"job-{name}", tenant="acme", kind="train", workload=workload,
            constraints={"examples": {"min": least}},
        )
        for name, least in (("r0", 50), ("r1", 5))
    ]  # fmt: skip
    return wire.Offer(offer="o1", candidates=candidates, answer_s=10.0)


def check_choice(choice: wire.Choose) -> None:
    """Raise :class:`Failed` unless the choice fits :func:`offer`."""
    if choice.offer != "o1" or choice.ranked != ["r1"]:
        raise Failed(f"it ranks {choice.ranked}; of its 10 examples only r1 holds")
    if choice.refused != {"r0": "private_constraint"}:
        raise Failed(f"it refuses {choice.refused}; r0 for private_constraint was to be said")


def slow(seconds: float) -> dict[str, object]:
    """Return a workload that takes its time."""
    return assignment(SMALL).workload | {"config": {"seconds": seconds}}


async def give(peer: Peer, given: wire.Assignment, parameters: bytes) -> wire.Assignment:
    """Assign, and serve the parameters."""
    await peer.send(given)
    accepted = await peer.expect(wire.Accept)
    if accepted.assignment != given.id:
        raise Failed(f"it accepts {accepted.assignment}; {given.id} was given")
    await serve_download(peer, await peer.expect(wire.Download), parameters)
    return given


async def serve_download(peer: Peer, order: wire.Download, content: bytes) -> None:
    """Send a blob, never more than the client's credit."""
    if order.digest != hashlib.sha256(content).hexdigest():
        raise Failed(f"it asks for {order.digest}, which is not of the assignment")
    offset, credit = order.offset, order.credit
    while offset < len(content):
        while credit <= 0:
            credit += (await peer.expect(wire.Credit)).size_bytes
        part = content[offset : offset + min(CHUNK, credit)]
        await peer.chunk(order.transfer, offset, part)
        offset += len(part)
        credit -= len(part)


async def chunks(peer: Peer, order: wire.Upload, offset: int, least: int) -> bytes:
    """Return at least so many bytes of an upload; they must follow one another."""
    found = b""
    while len(found) < least:
        one = await peer.expect(tuple)
        if one[:2] != (order.transfer, offset + len(found)):
            raise Failed(f"a chunk {one[:2]}; {(order.transfer, offset + len(found))} is next")
        found += one[2]
    return found


async def finish(peer: Peer, given: wire.Assignment, parameters: bytes) -> None:
    """Take the update in parts of a small credit, check it, accept it."""
    order = await peer.expect(wire.Upload)
    if order.weight != 10:
        raise Failed(f"weight {order.weight}; the data set has 10 examples")
    await peer.send(wire.UploadReady(transfer=order.transfer, offset=0, credit=CHUNK))
    content, granted = b"", CHUNK
    while len(content) < order.size_bytes:
        content += await chunks(peer, order, len(content), 1)
        if len(content) > granted:
            raise Failed(f"{len(content)} bytes came; credit reached to {granted}")
        more = min(CHUNK, order.size_bytes - granted)
        if len(content) == granted and more:
            granted += more
            await peer.send(wire.Credit(transfer=order.transfer, size_bytes=more))
    await accept(peer, given, order, content)


async def accept(peer: Peer, given: wire.Assignment, order: wire.Upload, content: bytes) -> None:
    """Check an update, count it, and see the client check in."""
    check_update(content, order.digest)
    await peer.send(wire.Accepted(assignment=given.id))
    await peer.expect(wire.CheckIn)


def check_update(content: bytes, digest: str) -> None:
    """Raise :class:`Failed` unless every value is one more than it was."""
    if hashlib.sha256(content).hexdigest() != digest:
        raise Failed("the bytes are not those whose digest was announced")
    if (found := values_of(content)) != {2.0}:
        raise Failed(f"the update has values {sorted(found)[:3]}; add_one makes 2.0 of 1.0")
