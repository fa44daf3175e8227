"""What a device is told of its assignment, from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

import aggregation.selectors
import jobs.selectors
from aggregation import tickets
from core import knobs
from jobs import constraints
from jobs.models import Round
from jobs.selectors import AssignmentDetail
from jobs.services import Window
from propius import wire

MAX_ROUNDS = 1_000
Workloads = Mapping[str, list[str]]
"""What a device's hello says that it can run, by kind."""


class Details:
    """What all devices of a round are told alike, read from the rows once a round.

    None of it changes while a round is open, but for its window, which each commit tells anew, and
    the version of an asynchronous job's round: then it is read again.
    """

    def __init__(self) -> None:
        self._rounds: dict[UUID, tuple[wire.Assignment, float, int, list[str]]] = {}

    def of_new(
        self,
        assigned: Mapping[UUID, UUID],
        windows: Mapping[UUID, Window],
        workloads: Mapping[UUID, Workloads],
        *,
        now: datetime,
    ) -> dict[str, wire.Assignment]:
        """Return the messages of new assignments, given by their rounds; each to its device's."""
        missing = {
            key: one
            for key, one in assigned.items()
            if one not in self._rounds or self._rounds[one][2] != windows[one].base_version
        }
        if missing:
            self._read(missing, now)
        told = {}
        lefts: dict[UUID, float] = {}
        for identifier, round_id in assigned.items():
            if round_id not in self._rounds:
                continue  # deleted since
            alike, execution_s, _, codecs = self._rounds[round_id]
            alike = in_codec_of(alike, codecs, workloads[identifier])
            if round_id not in lefts:
                lefts[round_id] = _left_s(windows[round_id], execution_s, now)
            told[str(identifier)] = msgspec.structs.replace(
                alike,
                id=str(identifier),
                deadline_s=lefts[round_id],
                ticket=_ticket(alike, identifier, now),
            )
        while len(self._rounds) > MAX_ROUNDS:
            del self._rounds[next(iter(self._rounds))]  # the oldest: most likely closed
        return told

    def _read(self, missing: Mapping[UUID, UUID], now: datetime) -> None:
        one_each = {round_id: identifier for identifier, round_id in missing.items()}
        rows = jobs.selectors.assignment_details(one_each.values())
        for row in rows.values():
            alike = assignment(row, now=now)
            execution_s = row.spec["rounds"]["deadline_s"]
            codecs = constraints.codecs(row.spec)
            self._rounds[row.round_id] = (alike, execution_s, row.base_version, codecs)


def _left_s(window: Window, execution_s: float, now: datetime) -> float:
    left_s = (window.ends_at - now).total_seconds()
    if window.status == Round.Status.SELECTING:
        left_s += execution_s
    return max(0.0, left_s)


def in_codec_of(
    told: wire.Assignment, codecs: Sequence[str], workloads: Workloads
) -> wire.Assignment:
    """Return the message in the first of the job's codecs that a device knows.

    One that says nothing of codecs is told the job's own: if it does not know that, it declines.
    """
    said = workloads.get(constraints.CODECS)
    if said is None:
        return told
    known = {*said, constraints.EVERYONES}
    chosen = next((one for one in codecs if one in known), told.codec)
    adaptive = told.workload.get("adaptive")
    workload = told.workload
    if adaptive and not known.issuperset(adaptive["codecs"]):
        spoken = [one for one in adaptive["codecs"] if one in known]
        workload = {**workload, "adaptive": {**adaptive, "codecs": spoken}}
    if chosen == told.codec and workload is told.workload:
        return told
    return msgspec.structs.replace(told, codec=chosen, workload=workload)


def of_held(detail: AssignmentDetail, workloads: Workloads, *, now: datetime) -> wire.Assignment:
    """Return the message of what a device holds already."""
    return in_codec_of(assignment(detail, now=now), constraints.codecs(detail.spec), workloads)


def assignment(detail: AssignmentDetail, *, now: datetime) -> wire.Assignment:
    """Return the message; durations, never clock times, for the device's clock may be wrong."""
    spec = detail.spec
    window = Window(detail.round_status, detail.ends_at, detail.base_version)
    program = None
    if detail.program_digest is not None:
        program = wire.Blob(digest=detail.program_digest, size_bytes=detail.program_size)
    frozen = None
    if detail.frozen_digest is not None:
        frozen = wire.Blob(digest=detail.frozen_digest, size_bytes=detail.frozen_size)
    control, control_bytes = _control(detail)
    told = wire.Assignment(
        id=str(detail.id),
        job=str(detail.job_id),
        job_name=detail.job_name,
        tenant=detail.tenant_slug,
        round=str(detail.round_id),
        number=detail.number,
        attempt=detail.attempt,
        kind=detail.kind,  # type: ignore[arg-type]
        workload=spec["workload"],
        constraints=spec["constraints"]["private"],
        parameters=wire.Blob(digest=detail.base_digest, size_bytes=detail.base_size),
        program=program,
        frozen=frozen,
        control=control,
        codec=spec["codec"],
        max_update_bytes=detail.max_update_bytes + control_bytes,
        seed=detail.seed,
        start_s=knobs.get().start_lease_s,
        lease_s=knobs.get().lease_s,
        deadline_s=_left_s(window, spec["rounds"]["deadline_s"], now),
        ticket="",
    )
    return msgspec.structs.replace(told, ticket=_ticket(told, detail.id, now))


def _control(detail: AssignmentDetail) -> tuple[wire.Blob | None, int]:
    """Return the server's control variate, and what changes of it may add to an update."""
    spec = detail.spec
    used = spec["workload"].get("train", {}).get("control_variates")
    if not used or detail.kind != Round.Kind.TRAIN:
        return None, 0
    # Of 16-bit parameters they are twice as wide.
    room = 0 if spec["max_update_bytes"] else 2 * detail.base_size
    found = aggregation.selectors.state_of(detail.job_id, detail.base_version)
    if found is None:
        return None, room
    digest, size_bytes = found
    return wire.Blob(digest=digest, size_bytes=size_bytes), room


def _ticket(told: wire.Assignment, assignment_id: UUID, now: datetime) -> str:
    return tickets.issue(
        assignment_id=assignment_id,
        downloads=list(told.blobs()),
        upload_bytes=told.max_update_bytes if told.kind == "train" else 0,
        now=now,
        round_id=told.round,
    )
