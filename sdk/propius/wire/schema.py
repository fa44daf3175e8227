"""The protocol's messages as JSON Schema: ``python -m propius.wire.schema > FILE``."""

from __future__ import annotations

import inspect
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


def written(found: Any) -> Any:
    """Return a schema with descriptions as Python 3.13 has them: their indent stripped."""
    if isinstance(found, dict):
        return {
            key: inspect.cleandoc(one) if key == "description" and isinstance(one, str)
            else written(one)
            for key, one in found.items()
        }  # fmt: skip
    return [written(one) for one in found] if isinstance(found, list) else found


def text() -> str:
    """Return the document as the file has it."""
    return json.dumps(written(schema()), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(text(), end="")
