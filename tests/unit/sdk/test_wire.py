"""Frames of the protocol: what is let through, and how the rest is named."""

from __future__ import annotations

import json

import pytest

from propius import wire

ASSIGNMENT = {
    "type": "assignment",
    "id": "a1",
    "job": "j1",
    "job_name": "n",
    "tenant": "acme",
    "round": "r1",
    "number": 1,
    "attempt": 1,
    "kind": "train",
    "workload": {},
    "constraints": {},
    "parameters": {"digest": "a" * 64, "size_bytes": 3},
    "program": None,
    "codec": "fp32",
    "max_update_bytes": 10,
    "seed": 0,
    "start_s": 10.0,
    "lease_s": 30.0,
    "deadline_s": 60.0,
    "ticket": "t",
}


def test_a_message_survives_encoding_and_decoding() -> None:
    message = wire.Upload(
        assignment="a1", transfer=3, digest="0" * 64, size_bytes=9, weight=2.5, metrics={"l": 0.5}
    )
    assert wire.decode_from_device(wire.encode(message)) == message
    answer = wire.Refused(code="bad_update", message="no", errors={"w": "NaN"})
    assert wire.decode_from_gateway(wire.encode(answer)) == answer
    assert wire.decode_from_gateway(json.dumps(ASSIGNMENT)).id == "a1"


@pytest.mark.parametrize(
    ("frame", "code", "named"),
    [
        ("{", "bad_frame", "not JSON"),
        (b"\xff\xfe", "bad_frame", "not JSON"),
        ("[]", "bad_message", "object"),
        ("{}", "bad_message", "type"),
        ('{"type": "dance"}', "bad_message", "dance"),
        ('{"type": "welcome", "session": "s"}', "bad_message", "welcome"),
        ('{"type": "ping", "extra": 1}', "bad_message", "extra"),
        ('{"type": "accept"}', "bad_message", "assignment"),
        ('{"type": "accept", "assignment": 3}', "bad_message", "$.assignment"),
        ('{"type": "accept", "assignment": ""}', "bad_message", "$.assignment"),
        (
            '{"type": "progress", "assignment": "a", "phase": "training", "fraction": 2}',
            "bad_message",
            "$.fraction",
        ),
        (
            '{"type": "progress", "assignment": "a", "phase": "sleeping"}',
            "bad_message",
            "$.phase",
        ),
        (
            '{"type": "report", "assignment": "a", "weight": -1, "metrics": {}}',
            "bad_message",
            "$.weight",
        ),
        (
            '{"type": "report", "assignment": "a", "weight": 1e999, "metrics": {}}',
            "bad_message",
            "$.weight",
        ),
        (
            '{"type": "report", "assignment": "a", "weight": 1, "metrics": {"x": NaN}}',
            "bad_frame",
            "not JSON",
        ),
        (
            json.dumps(
                {"type": "download", "assignment": "a", "transfer": 1, "digest": "a" * 64 + "\n"}
            ),
            "bad_message",
            "$.digest",
        ),
        (
            json.dumps({"type": "download", "assignment": "a", "transfer": -1, "digest": "a" * 64}),
            "bad_message",
            "$.transfer",
        ),
        (
            json.dumps({"type": "choose", "offer": "o", "ranked": ["r"] * 33}),
            "bad_message",
            "$.ranked",
        ),
        ('{"type": "ping"}' + " " * wire.MAX_CONTROL, "too_long", "at most"),
    ],
)
def test_a_bad_frame_of_a_device_is_named(frame: str | bytes, code: str, named: str) -> None:
    with pytest.raises(wire.ProtocolError) as caught:
        wire.decode_from_device(frame)
    assert caught.value.code == code
    assert named in str(caught.value)


def test_a_digest_that_is_a_path_never_reaches_the_disk() -> None:
    evil = {**ASSIGNMENT, "parameters": {"digest": "../../etc/passwd", "size_bytes": 1}}
    with pytest.raises(wire.ProtocolError, match=r"\$\.parameters\.digest"):
        wire.decode_from_gateway(json.dumps(evil))


@pytest.mark.parametrize(
    "odd", [{"lease_s": 0}, {"lease_s": -1.0}, {"lease_s": 1e300}, {"deadline_s": -5}]
)
def test_durations_that_cannot_be_are_refused(odd: dict[str, float]) -> None:
    with pytest.raises(wire.ProtocolError, match=next(iter(odd))):
        wire.decode_from_gateway(json.dumps(ASSIGNMENT | odd))
    assert wire.decode_from_gateway(json.dumps(ASSIGNMENT | {"deadline_s": 0})).id == "a1"


def test_deep_nesting_is_refused_and_does_not_break_the_process() -> None:
    deep = '{"a":' + "[" * 20_000 + "]" * 20_000 + "}"
    text = json.dumps({**ASSIGNMENT, "workload": "X"}).replace('"X"', deep)
    with pytest.raises(wire.ProtocolError, match="nested too deeply"):
        wire.decode_from_gateway(text)


def test_a_chunk_survives_packing() -> None:
    transfer, offset, payload = wire.unpack_chunk(wire.pack_chunk(7, 1 << 40, b"abc"))
    assert (transfer, offset, bytes(payload)) == (7, 1 << 40, b"abc")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "bad_frame"),
        (wire.pack_chunk(1, 0, b""), "bad_frame"),
        (b"\x02" + wire.pack_chunk(1, 0, b"x")[1:], "bad_frame"),
        (wire.pack_chunk(1, 0, bytes(wire.MAX_CHUNK + 1)), "too_long"),
    ],
)
def test_a_bad_chunk_is_refused(frame: bytes, code: str) -> None:
    with pytest.raises(wire.ProtocolError) as caught:
        wire.unpack_chunk(frame)
    assert caught.value.code == code


def test_the_proof_binds_nonce_and_device() -> None:
    assert wire.proof("n", "d") == b"propius hello v1\nn\nd"
