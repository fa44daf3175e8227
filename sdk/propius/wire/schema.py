"""The protocol's messages as JSON Schema: ``python -m propius.wire.schema > FILE``."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from propius.wire.device import FromDevice
from propius.wire.fields import PROTOCOL
from propius.wire.gateway import FromGateway


def schema() -> dict[str, Any]:
    """Return one document; ``$defs`` has each message, and what each side may say."""
    sides = {"FromDevice": FromDevice, "FromGateway": FromGateway}
    messages = [one for side in sides.values() for one in get_args(side)]
    _, found = msgspec.json.schema_components(messages, ref_template="#/$defs/{name}")
    for name, side in sides.items():
        named = [{"$ref": f"#/$defs/{one.__name__}"} for one in get_args(side)]
        found[name] = {"title": name, "anyOf": named}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Propius device protocol, version {PROTOCOL}",
        "$defs": dict(sorted(found.items())),
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in sides],
    }


def text() -> str:
    """Return the document as the file has it."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(text(), end="")
