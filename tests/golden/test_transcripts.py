"""The transcripts in this folder are what both sessions say today, and every message is in one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from propius import wire
from tests.golden import transcripts


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (transcripts.HERE / name).read_text().splitlines()]


def messages(name: str) -> tuple[list[Any], list[Any]]:
    """Return what the device and what the gateway says, decoded."""
    said, heard = [], []
    for line in lines(name):
        if "chunk" in line:
            continue
        ours = line.get("words", [line["message"]] if line.get("from") == "device" else [])
        theirs = line.get("answer", [line["message"]] if line.get("from") == "gateway" else [])
        said += [wire.decode_from_device(json.dumps(one)) for one in ours]
        heard += [wire.decode_from_gateway(json.dumps(one)) for one in theirs]
    return said, heard


@pytest.mark.parametrize("name", transcripts.TRANSCRIPTS)
def test_both_ends_still_say_the_same(name):
    made = transcripts.text(transcripts.TRANSCRIPTS[name]())
    assert (transcripts.HERE / name).read_text() == made, (
        ".venv/bin/python -m tests.golden.transcripts"
    )


def test_every_message_is_in_one_of_them():
    said, heard = messages("socket.jsonl")
    assert {type(one) for one in said} == set(wire.FromDevice.__args__)
    assert {type(one) for one in heard} == set(wire.FromGateway.__args__)


def test_every_signature_of_one_shot_mode_is_over_nonce_and_words():
    key = transcripts.KEY.public_key()
    for line in lines("once.jsonl"):
        hello, *words = (wire.decode_from_device(json.dumps(one)) for one in line["words"])
        digest = hashlib.sha256("\n".join(map(wire.encode, words)).encode()).hexdigest()
        signed = wire.proof(f"{line['nonce']} {digest}", hello.device)
        key.verify(bytes.fromhex(hello.signature), signed)  # raises if it does not fit
