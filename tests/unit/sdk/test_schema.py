"""The schemas in docs/protocol are what the types say."""

import json
from pathlib import Path

import jsonschema

from propius import manifest, wire
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


def test_the_manifests_schema_is_current_and_takes_the_example_of_the_api():
    file = FILE.with_name("manifest.schema.json")
    assert file.read_text() == manifest.text(), (
        f".venv/bin/python -m propius.manifest > {file.relative_to(Path.cwd())}"
    )
    examples = Path(__file__).resolve().parents[3] / "propius_site" / "api_examples.json"
    example = json.loads(examples.read_text())["Manifest"]
    jsonschema.validate(example, json.loads(file.read_text()))
    assert manifest.convert(example).rounds[0].batches[0].last == 6
