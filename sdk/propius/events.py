"""A job's events as they happen (server-sent events), through broken connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from propius.calls import FIRST_S, LONGEST_S, MANY, RETRIED, Calls
from propius.http_errors import ApiError

SILENCE_S = 45.0
"""The server says something at least every 15 s."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job.

    Parameters
    ----------
    id
        To go on after it: ``after=event.id``.
    kind
        Such as ``job.admitted`` or ``round.opened``.
    at
        When.
    job, round, assignment
        Ids; empty if it is not about one.
    device
        The device's pseudonym, or empty.
    data
        Numbers, codes, names.
    """

    id: str
    kind: str
    at: datetime
    job: str
    round: str
    assignment: str
    device: str
    data: dict[str, Any]


def follow(
    calls: Calls,
    job: str,
    *,
    after: str = "",
    follow: bool = True,
    kinds: Iterable[str] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """Yield a job's events until it has ended, or with ``follow=False`` those there are now.

    The server ends a stream now and then, and connections break: the next one goes on after the
    last event that was seen.
    """
    asked = list(kinds)
    left, pause_s = MANY, FIRST_S
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        options: dict[str, Any] = {
            "params": {"follow": "true" if follow else "false", "kind": asked},
            "timeout": httpx.Timeout(30.0, read=SILENCE_S),
        }
        try:
            with calls.stream(f"jobs/{job}/events", headers=headers, **options) as answer:
                if answer.status_code == 204:  # it has ended, and all is told
                    return
                for number, event in _parsed(answer.iter_lines()):
                    after = number or after
                    left, pause_s = MANY, FIRST_S
                    yield event
            if not follow:
                return
        except ApiError as error:
            passing = error.status in RETRIED or error.code in ("unreachable", "timeout")
            if not passing or not left:
                raise
            left -= 1
        sleep(pause_s)
        pause_s = min(LONGEST_S, 2 * pause_s)


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, Event]]:
    number, data = "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            number = value
        elif name == "data":
            data += value
        elif not line and data:
            yield number, _event(json.loads(data))
            number, data = "", ""


def _event(told: dict[str, Any]) -> Event:
    return Event(
        id=str(told["id"]),
        kind=told["kind"],
        at=datetime.fromisoformat(told["at"]),
        job=told.get("job") or "",
        round=told.get("round") or "",
        assignment=told.get("assignment") or "",
        device=told.get("device") or "",
        data=told.get("data") or {},
    )
