"""The cases over plain HTTP: one-shot mode."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from propius import wire
from propius.conformance.gateway import Failed, Gateway, assignment, tensors
from propius.conformance.http import Request
from propius.conformance.sockets import check_choice, check_update, offer

SMALL = tensors(1_000, 1.0)
LARGE = tensors(500_000, 1.0)
IDLE = wire.Retry(after_s=60.0, code="idle", message="no round for this device now")


async def nothing_to_do(gateway: Gateway) -> None:
    """signs nonce and words, checks in, and ends when told to come back"""
    await check_in(gateway, IDLE)


async def stale_nonce(gateway: Gateway) -> None:
    """says it again with the new nonce when the old one has ended"""
    request, nonce = await greeting(gateway)
    words = await read(gateway, request, nonce)
    gateway.last = gateway.nonce()
    await say(request, 409, wire.Refused(code="stale_nonce", message="ended"), nonce=gateway.last)
    request = await gateway.request("POST")
    again = await read(gateway, request, gateway.last)
    if again != words:
        raise Failed(f"it says {again} after stale_nonce; before it said {words}")
    if not again:
        gateway.last = gateway.nonce()
        await say(request, 200, welcome(), nonce=gateway.last)
        again, request, _ = await visit(gateway)
    _only(again, wire.CheckIn)
    await say(request, 200, welcome(), IDLE, nonce=gateway.nonce())
    gateway.settle()


async def revoked(gateway: Gateway) -> None:
    """ends, and does not come back, when it is shut out"""
    request, nonce = await greeting(gateway)
    await read(gateway, request, nonce)
    shut_out = wire.Refused(code="device_revoked", message="revoked", fatal=True)
    await say(request, 403, shut_out, nonce=gateway.nonce())
    gateway.settle()


async def train(gateway: Gateway) -> None:
    """accepts, downloads and uploads by ticket"""
    given = assignment(LARGE)
    await check_in(gateway, given)
    await accept(gateway, given)
    await serve_download(gateway, LARGE)
    await finish(gateway, given)


async def evaluate(gateway: Gateway) -> None:
    """reports an evaluation"""
    given = assignment(SMALL, kind="evaluate")
    await check_in(gateway, given)
    await accept(gateway, given)
    await serve_download(gateway, SMALL)
    words, request, nonce = await visit(gateway)
    report = _only(words, wire.Report)
    assert isinstance(report, wire.Report)
    if report.weight != 10:
        raise Failed(f"weight {report.weight}; the data set has 10 examples")
    await say(request, 200, welcome(given), wire.Accepted(assignment=given.id), nonce=nonce)
    gateway.settle()


async def private_constraints(gateway: Gateway) -> None:
    """answers an offer in the next request"""
    await check_in(gateway, offer())
    words, request, nonce = await visit(gateway)
    choice = _only(words, wire.Choose)
    assert isinstance(choice, wire.Choose)
    check_choice(choice)
    given = assignment(SMALL)
    await say(request, 200, welcome(), given, nonce=nonce)
    await accept(gateway, given)
    await serve_download(gateway, SMALL)
    await finish(gateway, given)


async def download_resumed(gateway: Gateway) -> None:
    """goes on with a download after a break"""
    given = assignment(LARGE)
    await check_in(gateway, given)
    await accept(gateway, given)
    request = await gateway.request("GET", "/data/v1/parameters/")
    half = len(LARGE) // 2
    await request.answer(200, LARGE[:half], size=len(LARGE))
    request.abort()
    await serve_download(gateway, LARGE, at_most=half)
    await finish(gateway, given)


async def upload_resumed(gateway: Gateway) -> None:
    """goes on with an upload after a break"""
    given = assignment(LARGE)
    await check_in(gateway, given)
    await accept(gateway, given)
    await serve_download(gateway, LARGE)
    request, _ = await put(gateway, given)
    part = b""
    async for piece in request.pieces():
        part += piece
        if len(part) > 100_000:
            break
    request.abort()
    await finish(gateway, given, have=part)


async def fresh_ticket(gateway: Gateway) -> None:
    """gets a new ticket from the gateway when the old one ran out"""
    given = assignment(SMALL)
    await check_in(gateway, given)
    await accept(gateway, given)
    request = await gateway.request("GET", "/data/v1/parameters/")
    await request.problem(401, "stale_ticket")
    words, request, nonce = await visit(gateway)
    if words:
        raise Failed(f"{len(words)} words came; the hello alone brings the ticket")
    await say(request, 200, welcome(assignment(SMALL, ticket="ticket-2")), nonce=nonce)
    await serve_download(gateway, SMALL, ticket="ticket-2")
    await finish(gateway, given, ticket="ticket-2")


async def refused(gateway: Gateway) -> None:
    """gives the assignment back when its update is refused"""
    given = assignment(SMALL)
    await check_in(gateway, given)
    await accept(gateway, given)
    await serve_download(gateway, SMALL)
    request, _ = await put(gateway, given)
    await request.body()
    await request.problem(422, "not_finite")
    words, request, nonce = await visit(gateway)
    _only(words, wire.Fail)
    await say(request, 200, welcome(given), nonce=nonce)
    gateway.settle()


CASES = (
    nothing_to_do, stale_nonce, revoked, train, evaluate, private_constraints,
    download_resumed, upload_resumed, fresh_ticket, refused,
)  # fmt: skip


# --- parts of them --------------------------------------------------------------------------------


def welcome(resume: wire.Assignment | None = None) -> wire.Welcome:
    """Return the word that the client is known."""
    return wire.Welcome(session="s1", server="scripted", ping_s=20.0, resume=resume)


async def greeting(gateway: Gateway) -> tuple[Request, str]:
    """Challenge the client; return its first visit and the nonce that it must sign."""
    request = await gateway.request("GET")
    gateway.last = gateway.nonce()
    await say(request, 200, nonce=gateway.last)
    return await gateway.request("POST"), gateway.last


async def read(gateway: Gateway, request: Request, nonce: str) -> list[wire.FromDevice]:
    """Check a visit's hello; return the words. Raises :class:`Failed`."""
    first, _, said = (await request.body()).partition(b"\n")
    if request.headers.get("propius-nonce") != nonce:
        raise Failed(f"Propius-Nonce is {request.headers.get('propius-nonce')}; {nonce} was given")
    try:
        hello = wire.decode_from_device(first)
        words = [wire.decode_from_device(line) for line in said.split(b"\n") if line]
    except wire.ProtocolError as error:
        raise Failed(f"a line that the protocol does not know: {error}") from None
    if not isinstance(hello, wire.Hello):
        raise Failed("the first line is no hello")
    gateway.check(hello, f"{nonce} {hashlib.sha256(said).hexdigest()}")
    return words


async def visit(gateway: Gateway) -> tuple[list[wire.FromDevice], Request, str]:
    """Return the words of the next visit that says more than progress, and a nonce to answer."""
    while True:
        request = await gateway.request("POST")
        words = await read(gateway, request, gateway.last)
        gateway.last = gateway.nonce()
        if not words or not all(isinstance(one, wire.Progress) for one in words):
            return words, request, gateway.last
        await say(request, 200, welcome(assignment(SMALL)), nonce=gateway.last)


async def say(request: Request, status: int, *messages: wire.Message, nonce: str) -> None:
    """Answer a visit."""
    lines = [*messages, wire.Challenge(nonce=nonce, protocols=[1])]
    body = "".join(wire.encode(one) + "\n" for one in lines).encode()
    await request.answer(status, body, {"content-type": "application/x-ndjson"})


async def check_in(gateway: Gateway, answer: wire.Message) -> None:
    """Take the client as far as its check-in, in one visit or two, and answer it."""
    request, nonce = await greeting(gateway)
    words = await read(gateway, request, nonce)
    if not words:
        gateway.last = gateway.nonce()
        await say(request, 200, welcome(), nonce=gateway.last)
        words, request, _ = await visit(gateway)
    _only(words, wire.CheckIn)
    gateway.last = gateway.nonce()
    await say(request, 200, welcome(), answer, nonce=gateway.last)
    if isinstance(answer, wire.Retry):
        gateway.settle()


async def accept(gateway: Gateway, given: wire.Assignment) -> None:
    """Hear that the client takes the assignment."""
    words, request, nonce = await visit(gateway)
    _only(words, wire.Accept)
    await say(request, 200, welcome(given), nonce=nonce)


async def serve_download(
    gateway: Gateway, content: bytes, *, ticket: str = "ticket-1", at_most: int = 0
) -> None:
    """Serve the parameters, from where the client asks."""
    request = await gateway.request("GET", "/data/v1/parameters/")
    _check_ticket(request, ticket)
    offset = 0
    if "range" in request.headers:
        offset = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
    if offset > at_most:
        raise Failed(f"it asks from byte {offset}; at most {at_most} have come")
    span = {"content-range": f"bytes {offset}-{len(content) - 1}/{len(content)}"}
    await request.answer(206 if offset else 200, content[offset:], span if offset else {})


async def put(
    gateway: Gateway, given: wire.Assignment, *, ticket: str = "ticket-1", have: int = 0
) -> tuple[Request, int]:
    """Answer HEAD, if it comes, and return the PUT with its offset."""
    path = f"/data/v1/updates/{given.id}"
    while True:
        gateway.settle()
        request = await gateway.any_request()
        if request.path == "/device/v1" and request.method == "POST":
            words = await read(gateway, request, gateway.last)
            _only(words, wire.Progress)
            gateway.last = gateway.nonce()
            await say(request, 200, welcome(given), nonce=gateway.last)
            continue
        if request.path != path:
            raise Failed(f"{request.method} {request.path} came; expected {path}")
        _check_ticket(request, ticket)
        if request.method == "HEAD":
            headers = {"upload-offset": str(have), "upload-complete": "?0"}
            await request.answer(200, b"", headers)
            continue
        offset = int(request.headers.get("upload-offset", "0"))
        if request.method != "PUT" or offset != have:
            raise Failed(f"{request.method} from byte {offset}; PUT from {have} is next")
        return request, offset


async def finish(
    gateway: Gateway, given: wire.Assignment, *, ticket: str = "ticket-1", have: bytes = b""
) -> None:
    """Take the update, or the rest of it, check it, accept it."""
    request, _ = await put(gateway, given, ticket=ticket, have=len(have))
    weight = request.headers.get("update-weight", "")
    content = have + await request.body()
    check_update(content, request.headers.get("upload-digest", ""))
    if str(len(content)) != request.headers.get("upload-length") or float(weight or 0) != 10:
        raise Failed(f"Upload-Length or Update-Weight is wrong: weight {weight!r}, 10 examples")
    body = wire.encode(wire.Accepted(assignment=given.id)).encode()
    await request.answer(200, body, {"content-type": "application/json"})
    gateway.settle()


def _only(words: Sequence[wire.FromDevice], kind: type) -> wire.FromDevice:
    names = [type(one).__name__.lower() for one in words]
    if names != [kind.__name__.lower()]:
        raise Failed(f"{names} came; expected {kind.__name__.lower()} alone")
    return words[0]


def _check_ticket(request: Request, ticket: str) -> None:
    said = request.headers.get("authorization", "")
    if said != f"Bearer {ticket}":
        raise Failed(f"{request.method} {request.path} with {said!r}; Bearer {ticket} opens it")
