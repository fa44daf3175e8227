"""docs/protocol/messages.schema.json is what the types say."""

import json
from pathlib import Path

from propius import wire
from propius.wire import schema

FILE = Path(__file__).resolve().parents[3] / "docs" / "protocol" / "messages.schema.json"


def test_the_file_is_current():
    assert FILE.read_text() == schema.text(), (
        f".venv/bin/python -m propius.wire.schema > {FILE.relative_to(Path.cwd())}"
    )


def test_it_has_every_message_with_its_name_and_refuses_unknown_fields():
    found = json.loads(FILE.read_text())["$defs"]
    for message in (*wire.FromDevice.__args__, *wire.FromGateway.__args__):
        one = found[message.__name__]
        assert one["properties"]["type"] == {"enum": [message.__struct_config__.tag]}
        assert one["additionalProperties"] is False
