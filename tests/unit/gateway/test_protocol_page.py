"""docs/protocol.md says what the types say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from propius import wire

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "protocol.md").read_text()
MESSAGES = [*wire.FromDevice.__args__, *wire.FromGateway.__args__]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one.__struct_config__.tag)
def test_every_message_and_field_is_described(message):
    tag = message.__struct_config__.tag
    section = re.search(rf"\*\*`{tag}`\*\*.*?(?=\n\*\*`|\n##|\Z)", PAGE, re.DOTALL)
    if tag == "decline":  # described together with fail
        section = re.search(r"\*\*`decline`\*\*.*?(?=\n\*\*`progress)", PAGE, re.DOTALL)
    assert section, tag
    for field in message.__struct_fields__:
        assert f"`{field}`" in section[0], f"{tag}.{field}"


def test_the_transcript_is_made_of_real_messages():
    heard = re.findall(r"^→ (\{.*\})$", PAGE, re.MULTILINE)
    said = re.findall(r"^← (\{.*\})$", PAGE, re.MULTILINE)
    assert len(heard) > 5
    assert len(said) > 5
    for line in heard:
        wire.decode_from_gateway(line)
    for line in said:
        wire.decode_from_device(line)


def test_its_numbers_are_those_of_the_types():
    assert "65 536 bytes" in PAGE
    assert wire.MAX_CONTROL == 65_536
    assert "262 144" in PAGE
    assert wire.MAX_CHUNK == 262_144
    assert f"= {wire.WINDOW}" in PAGE
    assert wire.CHUNK_HEADER.pack(1, 1, 262_144).hex(" ") in re.sub(" +", " ", PAGE)
