"""Calls that are lost are made again; streams go on where they broke off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from propius import events
from propius.calls import Calls
from propius.http_errors import ApiError
from propius.resources import Round, columns, curve

Answer = httpx.Response | Exception


class Scripted:
    """Answers one after the other; keeps what was asked and how long was waited."""

    def __init__(self, *answers: Answer) -> None:
        self.answers: Iterator[Answer] = iter(answers)
        self.asked: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.waited: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.bodies.append(request.read())
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def calls(self, **options: Any) -> Calls:
        transport = httpx.MockTransport(self)
        return Calls("http://x", "t", transport=transport, sleep=self.waited.append, **options)


def ok(**body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def test_a_lost_post_is_made_again_with_the_same_key() -> None:
    script = Scripted(httpx.ReadError("cut"), httpx.Response(502), ok(id="1"))
    assert script.calls().post("jobs", {"name": "a"}) == {"id": "1"}
    assert len({one.headers["Idempotency-Key"] for one in script.asked}) == 1
    assert len(set(script.bodies)) == 1
    first, second = script.waited
    assert 0.125 <= first <= 0.25 <= second <= 0.5


def test_every_post_has_a_key_of_its_own_and_a_given_one_is_kept() -> None:
    script = Scripted(ok(), ok(), ok(digest="d"), ok())
    calls = script.calls()
    calls.post("jobs/1/cancel")
    calls.post("jobs/1/cancel")
    calls.upload("parameters", b"x")
    calls.post("jobs", {}, key="mine")
    keys = [one.headers["Idempotency-Key"] for one in script.asked]
    assert len(set(keys)) == 4
    assert keys[-1] == "mine"


def test_a_file_is_sent_whole_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    script = Scripted(httpx.Response(503), ok(digest="d"))
    script.calls().upload("parameters", file)
    assert [len(one) for one in script.bodies] == [3_000_000] * 2


def test_the_server_says_how_long_to_wait() -> None:
    limited = httpx.Response(429, headers={"Retry-After": "7"})
    script = Scripted(limited, ok(id="1"))
    script.calls().get("jobs/1")
    assert script.waited == [7.0]


@pytest.mark.parametrize(
    ("answers", "tries", "code"),
    [
        ([httpx.ConnectError("refused")] * 3, 3, "unreachable"),
        ([httpx.Response(503, json={"code": "busy", "detail": "b"})] * 3, 3, "busy"),
        ([httpx.Response(409, json={"code": "wrong_state", "detail": "w"})], 1, "wrong_state"),
        ([httpx.Response(500)], 1, "http_error"),
        ([httpx.Response(429, headers={"Retry-After": "3600"})], 1, "http_error"),
        ([httpx.Response(200, text="<html>")], 1, "not_propius"),
    ],
)
def test_it_gives_up_with_the_last_answer(answers: list[Answer], tries: int, code: str) -> None:
    script = Scripted(*answers)
    with pytest.raises(ApiError) as caught:
        script.calls(retries=2).get("jobs")
    assert caught.value.code == code
    assert len(script.asked) == tries


def test_an_error_has_its_fix_apart_and_in_its_text() -> None:
    with pytest.raises(ApiError) as caught:
        Scripted(httpx.ConnectError("refused")).calls(retries=0).get("jobs")
    assert caught.value.fix == "check the address and the network"
    assert str(caught.value) == f"{caught.value.detail}; {caught.value.fix}"


# --- events ---


def told(number: int, kind: str) -> str:
    body = {"id": number, "kind": kind, "at": "2026-01-02T03:04:05+00:00", "job": "j", "data": {}}
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(body)}\n\n"


def stream(*parts: str) -> httpx.Response:
    return httpx.Response(200, text="retry: 2000\n\n: still here\n\n" + "".join(parts))


def follow(script: Scripted, **options: Any) -> list[str]:
    found = events.follow(script.calls(), "j", sleep=script.waited.append, **options)
    return [one.kind for one in found]


def test_a_stream_goes_on_after_the_last_event_seen() -> None:
    cut = told(3, "round.opened")[:-5]  # half an event is none
    script = Scripted(
        stream(told(1, "job.submitted"), told(2, "job.admitted"), cut),
        httpx.ReadError("cut"),
        httpx.Response(503),
        stream(told(3, "round.opened")),
        httpx.Response(204),
    )
    assert follow(script) == ["job.submitted", "job.admitted", "round.opened"]
    assert [one.headers.get("Last-Event-ID") for one in script.asked] == [None, "2", "2", "2", "3"]


def test_without_following_it_ends_with_what_is_there() -> None:
    script = Scripted(stream(told(8, "job.paused")))
    kinds = ["job.paused", "job.failed"]
    assert follow(script, after="7", follow=False, kinds=kinds) == ["job.paused"]
    assert script.asked[0].url.params.get_list("kind") == kinds
    assert script.asked[0].headers["Last-Event-ID"] == "7"
    assert script.asked[0].url.params["follow"] == "false"


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (401, "not_authenticated")])
def test_a_refused_stream_is_an_error(status: int, code: str) -> None:
    refused = httpx.Response(status, json={"code": code, "detail": "no"})
    with pytest.raises(ApiError) as caught:
        follow(Scripted(refused))
    assert caught.value.code == code


# --- metrics ---


def test_metrics_are_columns_oldest_first() -> None:
    make: Callable[..., Round] = lambda number, status, metrics: Round(  # noqa: E731
        id=str(number), number=number, kind="train", status=status, reported=5, metrics=metrics
    )
    rounds = [
        make(3, "executing", None),
        make(2, "finished", {"loss": 0.5, "reported": 1.0}),
        make(1, "finished", None),
    ]
    table = columns(rounds)
    assert table["number"] == [1, 2]
    assert table["loss"] == [None, 0.5]
    assert (table["reported"], table["metric_reported"]) == ([5, 5], [None, 1.0])


def test_the_curve_is_of_evaluations_if_any_has_measured() -> None:
    trained = Round("r1", 1, "train", "finished", metrics={"loss": 2.0})
    abandoned = Round("r2", 1, "evaluate", "finished", outcome="abandoned", metrics={})
    evaluated = Round("r3", 2, "evaluate", "finished", metrics={"loss": 1.0})
    assert curve([trained, abandoned]) == [trained]
    assert curve([trained, abandoned, evaluated]) == [abandoned, evaluated]
    assert curve([]) == []
