"""A body is cut off before Django has put it on the disk."""

import asyncio
import json
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from core import knobs
from propius_site.body_limit import SMALL_BYTES, WithBodyLimit, limit_of

PIECE = bytes(1 << 20)


async def ask(path: str, pieces: int, *, announce: int | None = None) -> tuple[Any, int]:
    """Return what the client hears, and how many bytes the application got."""
    said: list[Any] = []
    left, taken = pieces, 0

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": PIECE, "more_body": left > 0}

    async def send(message: Any) -> None:
        said.append(message)

    async def application(_: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        while (message := await receive())["type"] == "http.request":
            taken += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = [] if announce is None else [(b"content-length", str(announce).encode())]
    scope = {"type": "http", "path": path, "headers": headers}
    await WithBodyLimit(application)(scope, receive, send)
    return said, taken


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/sign-in/", "/api/v1/parameters/elsewhere"])
async def test_a_body_without_an_end_is_cut_off(path: str) -> None:
    said, taken = await ask(path, 10_000)
    assert taken <= SMALL_BYTES
    assert [one.get("status") for one in said] == [413, None]
    problem = json.loads(said[1]["body"])
    assert (problem["code"], str(SMALL_BYTES) in problem["detail"]) == ("too_large", True)


async def test_one_that_is_announced_is_not_read_at_all() -> None:
    said, taken = await ask("/api/v1/jobs", 1, announce=1 << 40)
    assert (said[0]["status"], taken) == (413, 0)


async def test_uploads_may_be_as_large_as_their_knobs_say() -> None:
    said, taken = await ask("/api/v1/programs", 16)
    assert (said[0]["status"], taken) == (200, knobs.get().max_program_bytes)
    said, _ = await ask("/api/v1/programs/", 17)
    assert said[0]["status"] == 413
    said, taken = await ask("/api/v1/parameters", 32, announce=32 << 20)
    assert (said[0]["status"], taken) == (200, 32 << 20)


def test_every_file_that_the_api_takes_may_be_as_large_as_its_knob_says() -> None:
    taken = {
        path
        for path, calls in SchemaGenerator().get_schema(public=True)["paths"].items()
        for call in calls.values()
        if "application/octet-stream" in call.get("requestBody", {}).get("content", {})
    }
    limits = {
        "/api/v1/parameters": knobs.get().max_parameters_bytes,
        "/api/v1/jobs/{job_id}/parameters": knobs.get().max_parameters_bytes,
        "/api/v1/programs": knobs.get().max_program_bytes,
    }
    assert taken == limits.keys()
    for path, limit in limits.items():
        assert limit > SMALL_BYTES
        assert limit_of(path.format(job_id="01890a5d-ac96-774b-bcce-b302099a8057")) == limit


async def test_a_body_that_drips_is_answered_and_its_application_let_go(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PROPIUS_REQUEST_BODY_S", "0.1")
    knobs.get.cache_clear()
    said: list[Any] = []
    heard: list[str] = []
    pieces = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Any:
        return pieces.pop() if pieces else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message)

    async def application(_: Any, receive: Any, send: Any) -> None:
        while not heard or heard[-1] == "http.request":
            heard.append((await receive())["type"])

    scope = {"type": "http", "path": "/api/v1/jobs", "headers": []}
    try:
        await WithBodyLimit(application)(scope, receive, send)
    finally:
        knobs.get.cache_clear()
    assert heard == ["http.request", "http.disconnect"]
    assert (said[0]["status"], json.loads(said[1]["body"])["code"]) == (408, "too_slow")
