"""Frames that no honest device sends: the golden transcripts' words, and what can be done to them.

What only a living session knows stands in them as ``$device``, ``$signature``, ``$assignment``,
``$digest`` and ``$update``; whoever sends them puts the right ones there.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import strategies as st

from propius import wire
from tests.golden import transcripts
from tests.integration.gateway.rawline import BINARY, CLOSE, PING, TEXT, Frame

UPLOAD, DOWNLOAD = 2, 1
"""Transfers that are under way in some of the stages."""
OURS = {
    "device": "$device", "signature": "$signature", "assignment": "$assignment",
    "digest": "$digest", "attributes": {"cpu_score": 3}, "workloads": {"handler": ["train"]},
}  # fmt: skip


def _golden() -> list[dict[str, Any]]:
    lines = (transcripts.HERE / "socket.jsonl").read_text().splitlines()
    found = [one["message"] for one in map(json.loads, lines) if "message" in one]
    messages = [one | {name: OURS[name] for name in OURS.keys() & one.keys()} for one in found]
    for one in messages:
        if one["type"] == "upload":
            one["digest"] = "$update"
    return list({json.dumps(one): one for one in messages}.values())


WORDS = _golden()
"""Of both sides: a device may say what only a gateway says."""
KINDS = sorted({one["type"] for one in WORDS})

_numbers = st.one_of(
    st.sampled_from([-1, 0, 1, 2, 2**31, 2**32 - 1, 2**32, 2**40 + 1, 2**63, 2**64, 10**400]),
    st.sampled_from([-0.0, 1e-320, 1e308, float("inf"), float("nan")]),
    st.integers(),
    st.floats(),
)
_texts = st.one_of(
    st.sampled_from(
        ["", "\x00", "a\x00b", "\ud800", "\u202e", "$assignment", "$digest", "x" * 501]
    ),
    st.uuids().map(str),
    st.text(max_size=20),
)
_scalars = st.none() | st.booleans() | _numbers | _texts
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _altered(draw: st.DrawFn) -> dict[str, Any]:
    """Return a message with fields of wrong types and sizes, gone, or of nobody's."""
    message = dict(draw(st.sampled_from(WORDS)))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(message)))
        inner = message[name]
        match draw(st.sampled_from(["replace", "inside", "drop", "add"])):
            case "inside" if isinstance(inner, dict):
                message[name] = inner | {draw(_texts): draw(_values)}
            case "drop" if name != "type":
                del message[name]
            case "add":
                message[draw(_texts | st.just("code"))] = draw(_values)
            case _:
                message[name] = draw(_values)
    return message


@st.composite
def _words(draw: st.DrawFn) -> bytes:
    """Return a text, that is often no longer JSON."""
    text = json.dumps(draw(_altered()))
    at = draw(st.integers(0, len(text)))
    match draw(
        st.sampled_from(["whole"] * 6 + ["cut", "twice", "nested", "long", "bytes", "bare"])
    ):
        case "cut":
            text = text[:at]
        case "twice":
            text = f'{text[:-1]}, "type": "{draw(st.sampled_from(KINDS))}"}}'
        case "nested":
            depth = draw(st.sampled_from([30, 1_000, 20_000]))
            opening = draw(st.sampled_from(["[", '{"a":']))
            text = f'{text[:-1]}, "code": {opening * depth}'[: 2 * wire.MAX_CONTROL]
        case "long":
            text += " " * draw(st.sampled_from([wire.MAX_CONTROL - len(text), wire.MAX_CONTROL]))
        case "bytes":
            return text[:at].encode() + draw(st.binary(min_size=1, max_size=4)) + text[at:].encode()
        case "bare":
            return json.dumps(draw(_values)).encode()
    return text.encode()


@st.composite
def _chunk(draw: st.DrawFn) -> bytes:
    """Return a chunk's frame, whose header is as it should be or nearly so."""
    kind = draw(st.sampled_from([wire.CHUNK_KIND] * 5 + [0, 255]))
    transfer = draw(st.sampled_from([UPLOAD, UPLOAD, UPLOAD, DOWNLOAD, 0, 2**32 - 1]))
    size = draw(st.sampled_from([0, 1, 17, 65_536, wire.MAX_CHUNK, wire.MAX_CHUNK + 1]))
    offset = draw(st.sampled_from([0, 1, 17, 65_536, wire.MAX_CHUNK, 2**63, 2**64 - 1]))
    frame = wire.CHUNK_HEADER.pack(kind, transfer, offset) + bytes(size)
    if draw(st.integers(0, 9)) == 0:
        return frame[: draw(st.integers(0, 20))]
    return frame


def _in_parts(frame: Frame, parts: int, between: bool) -> list[Frame]:
    """Return the frame as websockets let it be broken, maybe with a ping in between."""
    size = max(1, len(frame.payload) // parts)
    found: list[Frame] = []
    for number in range(parts):
        last = number == parts - 1
        payload = frame.payload[number * size : None if last else (number + 1) * size]
        found.append(Frame(frame.opcode if number == 0 else 0, payload, is_last=last))
        if between and not last:
            found.append(Frame(PING, b"in between"))
    return found


_closings = st.sampled_from([b"", b"\x03", b"\x03\xe8", b"\x03\xed", b"\xff\xff", b"\x03\xe8\xff"])


@st.composite
def _oddities(draw: st.DrawFn) -> Frame:
    """Return a frame that websockets forbid, or use for themselves."""
    payload = draw(st.binary(max_size=130))
    return Frame(
        draw(st.sampled_from([0, TEXT, BINARY, 3, 7, CLOSE, PING, 10, 11, 15])),
        payload,
        is_last=draw(st.booleans()),
        reserved=draw(st.sampled_from([0, 0, 1, 4, 7])),
        is_masked=draw(st.booleans()),
        claims=draw(st.sampled_from([None, None, len(payload), 200_000, 2**31, 2**63 - 1])),
    )


@st.composite
def _frames(draw: st.DrawFn) -> list[Frame]:
    match draw(st.sampled_from(["text"] * 6 + ["chunk"] * 3 + ["mixed", "parts", "close", "odd"])):
        case "text":
            return [Frame(TEXT, draw(_words()))]
        case "chunk":
            return [Frame(BINARY, draw(_chunk()))]
        case "mixed":
            return [Frame(BINARY, draw(_words())), Frame(TEXT, draw(_chunk()))]
        case "parts":
            return _in_parts(
                Frame(TEXT, draw(_words())), draw(st.integers(2, 4)), draw(st.booleans())
            )
        case "close":
            return [Frame(CLOSE, draw(_closings))]
        case _:
            return [draw(_oddities())]


FRAMES = st.lists(_frames(), min_size=1, max_size=6).map(
    lambda several: [frame for one in several for frame in one]
)


def close_code(payload: bytes) -> int:
    """Return the code of a close frame; 1005, as the standard has it, for none."""
    return struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
