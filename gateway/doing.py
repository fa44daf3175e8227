"""How a connection carries out each instruction of its session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils import timezone

import aggregation.services
import clients.services
from core.errors import PropiusError
from gateway import events as ev
from gateway import hellos
from gateway import instructions as todo
from gateway.limits import LOOKUPS_AT_ONCE
from gateway.metrics import RESULTS
from gateway.offers import Ask
from gateway.threads import DatabaseAway
from gateway.uploads import Upload, come_back, refusal
from jobs.constraints import Profile
from propius import wire

if TYPE_CHECKING:
    from gateway.consumer import Connection

logger = logging.getLogger(__name__)


def _send(one: Connection, do: todo.Send) -> None:
    if isinstance(do.message, wire.Assignment):
        one.pushed = False
        one.hub.registry.hold(do.message.id, one)
    one.line.text(wire.encode(do.message))


def _close(one: Connection, do: todo.Close) -> None:
    one.close(do.code)


def _verify(one: Connection, do: todo.Verify) -> None:
    one.timers.stop("hello")
    one.spawn(hellos.check(one, do))


def _change_attributes(one: Connection, do: todo.ChangeAttributes) -> None:
    if not one.changes.allows(asyncio.get_running_loop().time()):
        one.fault("rate_limited", "the attributes change too often")
        return
    one.spawn(_changed(one, do.attributes))


async def _changed(one: Connection, attributes: dict[str, wire.Scalar]) -> None:
    try:
        known = await one.hub.threads.rows(lambda: clients.services.check_attributes(attributes))
    except clients.services.BadAttributes as error:
        one.feed(ev.AttributesRefused(error.detail, error.errors))
    except DatabaseAway:
        one.feed(ev.AttributesChanged())  # unchecked ones are not taken: the former stand
    else:
        one.introduce(Profile(known, one.profile.workloads, one.pool_id))
        one.feed(ev.AttributesChanged())


def _request_bind(one: Connection, _: todo.RequestBind) -> None:
    one.hub.idle.remove(one)
    if one.is_moving:
        # Its last result must be counted first, or the device is taken for busy. What it gives
        # back needs no wait: the next commit takes that before it binds.
        one.move(_ask_later(one))
    else:
        _ask(one)


async def _ask_later(one: Connection) -> None:
    _ask(one)


def _ask(one: Connection) -> None:
    if not one.pushed and not one.is_barred:
        one.hub.count_check_in(one.profile_key)
    one.hub.binder.ask(Ask(one, one.hub.idle.version))


def _request_choice(one: Connection, do: todo.RequestChoice) -> None:
    one.timers.stop("offer")
    one.hub.binder.ask(Ask(one, one.hub.idle.version, choice=(do.ranked, do.refused)))


def _note_refusals(one: Connection, do: todo.NoteRefusals) -> None:
    one.hub.refusals.note(one.device, do.reasons)


def _park(one: Connection, _: todo.Park) -> None:
    one.timers.stop("offer")
    one.hub.idle.park(one, one.tried)


def _expect_choice(one: Connection, do: todo.ExpectChoice) -> None:
    one.timers.set("offer", do.answer_s, one.feed, ev.OfferExpired(do.offer))


def _accept(one: Connection, do: todo.AcceptAssignment) -> None:
    one.moves_with(one.hub.binder.moves.accept(one, do.assignment))


def _give_back(one: Connection, do: todo.GiveBack) -> None:
    one.moves_with(one.hub.binder.moves.give_back(one, do))


def _renew(one: Connection, do: todo.RenewLease) -> None:
    one.hub.leases.renew(do.assignment, do.phase, do.fraction)


def _start_download(one: Connection, do: todo.StartDownload) -> None:
    one.downloads.start(do, partial(one.hub.leases.renew, do.assignment))


def _add_credit(one: Connection, do: todo.AddCredit) -> None:
    one.downloads.add_credit(do.transfer, do.size_bytes)


def _start_upload(one: Connection, do: todo.StartUpload) -> None:
    held = one.session.assignment
    assert held is not None
    one.upload = Upload(
        do.upload,
        device=one.device,
        max_bytes=held.max_update_bytes,
        threads=one.hub.threads,
        desk=one.hub.desk,
        transfers=one.hub.transfers,
        feed=one.feed,
    )
    one.hub.adopt(one.upload.start())


def _write_chunk(one: Connection, do: todo.WriteChunk) -> None:
    held, window = one.session.assignment, one.session.duty.window
    if one.upload is not None and held is not None and window is not None:
        one.hub.leases.renew(held.id, "uploading", window.received / window.size_bytes)
        one.upload.write(do.payload)


def _finish_upload(one: Connection, _: todo.FinishUpload) -> None:
    if one.upload is not None:
        one.upload.finish()


def _store_report(one: Connection, do: todo.StoreReport) -> None:
    one.move(_reported(one, do.report))


async def _reported(one: Connection, report: wire.Report) -> None:
    call = partial(
        aggregation.services.accept_report,
        assignment_id=UUID(report.assignment),
        device_id=UUID(one.device),
        weight=report.weight,
        metrics=report.metrics,
    )
    try:
        await one.hub.threads.rows(lambda: call(now=timezone.now()))
    except PropiusError as error:
        one.feed(refusal(report.assignment, error))
    except DatabaseAway:
        one.feed(come_back())
    else:
        RESULTS.labels("accepted").inc()
        one.feed(ev.UpdateAccepted(report.assignment))


def _stop_transfers(one: Connection, do: todo.StopTransfers) -> None:
    one.stop_transfers(keep=False)
    one.hub.registry.release(do.assignment, one)
    one.hub.leases.forget(do.assignment)


def _look_up(one: Connection, do: todo.LookUp) -> None:
    if one.looking >= LOOKUPS_AT_ONCE:
        one.fault("rate_limited", f"more than {LOOKUPS_AT_ONCE} results of other assignments")
        return
    one.looking += 1
    one.spawn(_looked_up(one, do.assignment))


async def _looked_up(one: Connection, assignment: str) -> None:
    try:
        await _answer(one, assignment)
    finally:
        one.looking -= 1


async def _answer(one: Connection, assignment: str) -> None:
    try:
        identifier = UUID(assignment)
    except ValueError:
        one.feed(ev.LookedUp(assignment, was_reported=False))
        return
    try:
        found = await one.hub.threads.rows(
            lambda: aggregation.services.already_accepted(
                assignment_id=identifier, device_id=UUID(one.device), now=timezone.now()
            )
        )
    except DatabaseAway:
        one.feed(come_back())
    else:
        one.feed(ev.LookedUp(assignment, was_reported=found))


DOING: dict[type, Callable[[Connection, Any], None]] = {
    todo.Send: _send,
    todo.Close: _close,
    todo.Verify: _verify,
    todo.ChangeAttributes: _change_attributes,
    todo.RequestBind: _request_bind,
    todo.RequestChoice: _request_choice,
    todo.NoteRefusals: _note_refusals,
    todo.Park: _park,
    todo.ExpectChoice: _expect_choice,
    todo.AcceptAssignment: _accept,
    todo.GiveBack: _give_back,
    todo.RenewLease: _renew,
    todo.StartDownload: _start_download,
    todo.AddCredit: _add_credit,
    todo.StartUpload: _start_upload,
    todo.WriteChunk: _write_chunk,
    todo.FinishUpload: _finish_upload,
    todo.StoreReport: _store_report,
    todo.StopTransfers: _stop_transfers,
    todo.LookUp: _look_up,
}
