"""What leaves ask of the root, under ``/data/v1/leaf/``: opened by the leaf's token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

import aggregation.leaves
from aggregation import blobs, expected, partials, tickets
from aggregation.leaf import messages
from aggregation.models import Hold, Leaf
from aggregation.tickets import Ticket
from aggregation.transfer.exchange import Exchange
from aggregation.transfer.threads import Threads
from aggregation.transfer.uploads import Upload
from aggregation.under_way import Transfers
from aggregation.uploads import UpdateRefused
from core import knobs
from core.errors import Conflict, Invalid, NotFound, PropiusError, TooLarge
from jobs.models import Round

BODY_MAX = 4 << 20
Clock = Callable[[], datetime]


class BadMessage(Invalid):
    """Not the JSON that this path takes."""

    code = "bad_message"


class NotHeld(Conflict):
    """An update forwarded by a leaf that does not hold it (any more)."""

    code = "not_held"


class LeafDesk:
    """Serve one process's leaves."""

    def __init__(self, threads: Threads, *, clock: Clock, transfers: Transfers) -> None:
        self._threads = threads
        self._clock = clock
        self._transfers = transfers

    async def serve(self, exchange: Exchange, name: str, token: str) -> int:
        """Answer one request; returns how many bytes of tensors came.

        Raises PropiusError, Gone, OSError.
        """
        leaf = await self._threads.rows(lambda: aggregation.leaves.authenticate(token))
        kind, _, rest = name.partition("/")
        match exchange.method, kind:
            case "POST", "beat":
                await self._beat(exchange, leaf)
            case "POST", "holds":
                await self._hold(exchange, leaf)
            case "GET", "rounds":
                await self._round(exchange, leaf, _uuid(rest))
            case "PUT", "partials":
                return await self._store(exchange, rest)
            case "POST", "partials":
                await self._commit(exchange, leaf)
            case "PUT", "updates":
                return await self._forwarded(exchange, leaf, _uuid(rest))
            case _:
                raise NotFound(f"{exchange.method} {name[:80]!r} is nothing that leaves ask")
        return 0

    async def _beat(self, exchange: Exchange, leaf: Leaf) -> None:
        said = await _read(exchange, messages.Beat)
        round_ids = [_uuid(one) for one in said.rounds]
        transfers = {_uuid(one): told for one, told in said.transfers.items()}
        now = self._clock()
        told = await self._threads.rows(
            lambda: aggregation.leaves.beat(
                leaf=leaf,
                load=msgspec.to_builtins(said.load),
                round_ids=round_ids,
                transfers=transfers,
                now=now,
            )
        )
        keys = tickets.public_keys(now=now).values()
        await _tell(
            exchange,
            messages.Told(
                leaf=leaf.name,
                keys=[key.public_bytes_raw().hex() for key in keys],
                fold_batch=knobs.get().fold_batch,
                rounds={str(one): state for one, state in told.items()},  # type: ignore[misc]
            ),
        )

    async def _hold(self, exchange: Exchange, leaf: Leaf) -> None:
        said = await _read(exchange, messages.Holds)
        now = self._clock()
        round_id = _uuid(said.round)
        reports = [_report(one, now) for one in said.updates]
        done = await self._threads.rows(
            lambda: aggregation.leaves.hold(leaf=leaf, round_id=round_id, reports=reports, now=now)
        )
        await _tell(
            exchange,
            messages.Held(
                taken=sorted(map(str, done.taken)),
                refused={
                    str(one): messages.Why(code=error.code, message=error.detail)
                    for one, error in done.refused.items()
                },
                push=done.push,
            ),
        )

    async def _round(self, exchange: Exchange, leaf: Leaf, round_id: UUID) -> None:
        await _tell(exchange, await self._threads.rows(lambda: _recipe(leaf, round_id)))

    async def _store(self, exchange: Exchange, digest: str) -> int:
        """Take the tensors of a partial; they count only with the message that names them."""
        store = blobs.store()
        limit = knobs.get().max_parameters_bytes * 2
        with await self._threads.files(lambda: store.writer(limit=limit)) as writer:
            while not exchange.is_read:
                piece = await exchange.piece()
                if piece:
                    await self._threads.files(functools.partial(writer.write, piece))
            found = await self._threads.files(writer.commit)
        if found != digest:
            raise Invalid(f"the bytes have SHA-256 {found}, announced was {digest[:80]!r}")
        await exchange.answer(200, {"content-length": "0"})
        return writer.size_bytes

    async def _commit(self, exchange: Exchange, leaf: Leaf) -> None:
        said = await _read(exchange, messages.Partial)
        round_id = _uuid(said.round)
        size = await self._threads.files(lambda: blobs.store().path(said.digest).stat().st_size)
        await self._threads.rows(lambda: partials.check(round_id=round_id, digest=said.digest))
        number = await self._threads.rows(
            lambda: partials.commit(
                leaf=leaf,
                round_id=round_id,
                digest=said.digest,
                size_bytes=size,
                batches=[[_uuid(one) for one in batch] for batch in said.batches],
                now=self._clock(),
            )
        )
        await _tell(exchange, messages.Committed(number=number))

    async def _forwarded(self, exchange: Exchange, leaf: Leaf, assignment_id: UUID) -> int:
        held = await self._threads.rows(
            lambda: Hold.objects.filter(leaf=leaf, assignment_id=assignment_id).first()
        )
        if held is None:
            raise NotHeld(f"leaf {leaf.name} does not hold assignment {assignment_id}")
        ticket = Ticket(
            assignment=str(assignment_id),
            downloads=(),
            upload_bytes=held.size_bytes,
            expires=0.0,
        )
        upload = Upload(
            exchange, ticket, self._threads, clock=self._clock, transfers=self._transfers
        )
        return await upload.run()


def _report(said: messages.Update, now: datetime) -> aggregation.leaves.Report:
    """A leaf speaks for a device only with the ticket that the device showed it.

    It needs none for what it holds already: a leaf that starts again says it again.
    """
    fault: PropiusError | None = None
    try:
        ticket = tickets.verify(said.ticket, now=now)
        ticket.check_upload(said.assignment)
        if said.size_bytes > ticket.upload_bytes:
            text = f"{said.size_bytes}; at most {ticket.upload_bytes} are allowed"
            fault = UpdateRefused("too_large", f"size_bytes: {text}")
    except PropiusError as error:
        fault = error
    return aggregation.leaves.Report(
        assignment_id=_uuid(said.assignment),
        digest=said.digest,
        size_bytes=said.size_bytes,
        weight=said.weight,
        metrics=said.metrics,
        fault=fault,
    )


def _recipe(leaf: Leaf, round_id: UUID) -> messages.Recipe:
    round_ = Round.objects.select_related("job").filter(id=round_id).first()
    if round_ is None or not aggregation.leaves.serves(leaf, round_):
        raise NotFound(f"there is no train round {round_id}")
    spec = round_.job.spec
    return messages.Recipe(
        round=str(round_id),
        take=round_.concurrency is None,
        fold=partials.is_foldable(round_),
        strategy=spec["strategy"],
        codecs=expected.codecs(round_.job),
        tensors=expected.as_json(expected.averaged(round_.job)),
        base=round_.base_digest,
    )


async def _read(exchange: Exchange, kind: type[Any]) -> Any:
    data = bytearray()
    while not exchange.is_read:
        data += await exchange.piece()
        if len(data) > BODY_MAX:
            raise TooLarge(f"more than {BODY_MAX} bytes of JSON")
    try:
        return msgspec.json.decode(bytes(data), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadMessage(f"the body: {error}") from error


async def _tell(exchange: Exchange, answer: msgspec.Struct) -> None:
    body = msgspec.json.encode(answer)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    await exchange.answer(200, headers, body)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"{text[:80]!r} is no id") from None
