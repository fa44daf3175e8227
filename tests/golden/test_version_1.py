"""Devices of protocol 1 that were made before today are understood, and understand.

``v1`` holds what both ends said, and the messages' schema, when it was frozen. It never changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from propius import wire
from tests.golden.replay import Line, Replay, as_lines

HERE = Path(__file__).resolve().parent / "v1"
FROZEN = {
    "messages.schema.json": "cb9b4f16c319266b62cc6490ecdd7aedf75580a7fa4e2bb10ee0db4c48c8dc8f",
    "once.jsonl": "16740148314e276fe96e57946ad2d20eb57b17f2731f6c9ccb0de63b0da61262",
    "socket.jsonl": "5336a933f2b37f8dc05cdc405b72e22bd1bd624b3386191b8855a35ac274e52a",
}
SCHEMA = json.loads((HERE / "messages.schema.json").read_text())["$defs"]
Shape = dict[str, Any]


def lines(name: str) -> list[Line]:
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def shapes(side: str) -> dict[str, Shape]:
    """Return the frozen shape of each message of a side, by its type."""
    names = [one["$ref"].rpartition("/")[2] for one in SCHEMA[side]["anyOf"]]
    return {SCHEMA[name]["properties"]["type"]["enum"][0]: SCHEMA[name] for name in names}


def test_what_is_frozen_stays_as_it_is():
    sums = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in HERE.iterdir()}
    assert sums == FROZEN


@pytest.mark.parametrize(
    ("name", "prefix", "told"), [("socket.jsonl", "s", iter), ("once.jsonl", "v", as_lines)]
)
def test_the_gateway_answers_a_device_of_then_as_it_did(
    name: str, prefix: str, told: Callable[[Iterable[Line]], Iterator[Line]]
) -> None:
    replay = Replay(prefix)
    replay.play(told(lines(name)))
    assert replay.heard > 20


def test_a_device_need_say_no_more_than_it_did():
    now = {one.__struct_config__.tag: one for one in wire.FromDevice.__args__}
    for tag, shape in shapes("FromDevice").items():
        one = now[tag]
        optional = len(one.__struct_defaults__)
        needed = set(one.__struct_fields__[: len(one.__struct_fields__) - optional])
        assert needed | {"type"} == set(shape["required"]), tag
        assert set(one.__struct_fields__) >= shape["properties"].keys() - {"type"}, tag


def test_nothing_is_said_unasked_that_a_device_of_then_would_refuse():
    """It refuses what it does not know: new fields are left out unless its hello names them."""
    now = {one.__struct_config__.tag: one for one in wire.FromGateway.__args__}
    for tag, shape in shapes("FromGateway").items():
        config = now[tag].__struct_config__
        new = set(now[tag].__struct_fields__) - shape["properties"].keys()
        assert not new or config.omit_defaults, (tag, new)
        defaults = now[tag].__struct_defaults__
        optional = now[tag].__struct_fields__[len(now[tag].__struct_fields__) - len(defaults) :]
        assert new <= set(optional), (tag, new)
