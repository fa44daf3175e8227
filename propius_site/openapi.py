"""The API's description: what drf-spectacular reads from the views, completed by what all share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from drf_spectacular.openapi import AutoSchema
from rest_framework.generics import GenericAPIView

from propius.manifest import Manifest

EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("api_examples.json").read_text(encoding="utf-8")
)
"""One example for each component, used for every call that sends or answers it."""

_PROBLEM = "application/problem+json"
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `errors` names faults by field.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["type", "title", "status", "code", "detail", "errors"],
}
_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[ -~]+$"},
    "description": "A replay with the same key within 24 h gets the first answer again.",
    "example": "0f8d6a52-6c0b-4d0e-9f2e-5a4f6f1f7a10",
}
_ETAG = {
    "in": "header",
    "name": "If-None-Match",
    "schema": {"type": "string", "pattern": "^[ -~]*$"},
    "description": "The ETag of an earlier answer; 304 if nothing has changed since.",
}
_REFUSALS = {
    "400": "The request is not valid",
    "401": "No valid token, and nobody is signed in",
    "403": "The role or the token's scopes do not allow it",
    "404": "There is no such thing in this tenant",
    "429": "Too many requests; Retry-After says when to try again",
    "default": "Refused for another reason, or the platform is at fault",
}


class Schema(AutoSchema):
    """Our views name methods, not actions: a GET of a generic view is a list."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        return self.method == "GET" and isinstance(self.view, GenericAPIView)


def complete(result: dict[str, Any], generator: Any, **kwargs: Any) -> dict[str, Any]:
    """Add to each call its headers, its refusals and an example."""
    schemas = result["components"]["schemas"]
    schemas["Problem"] = _PROBLEM_SCHEMA
    # A type of the SDK's, which no serializer knows.
    schemas |= msgspec.json.schema_components(
        [Manifest], ref_template="#/components/schemas/{name}"
    )[1]
    for name in ("JobOutcome", "RoundOutcome"):
        schemas[name]["enum"].append("")  # until it has ended
    for path in result["paths"].values():
        for method, call in path.items():
            _headers(method, call)
            _refusals(call)
            _examples(call)
    return result


def _headers(method: str, call: dict[str, Any]) -> None:
    if method == "post":
        call.setdefault("parameters", []).append(_KEY)
    if method == "get":
        call.setdefault("parameters", []).append(_ETAG)
        call["responses"].setdefault("304", {"description": "Nothing has changed"})


def _refusals(call: dict[str, Any]) -> None:
    for status, text in _REFUSALS.items():
        schema = {"$ref": "#/components/schemas/Problem"}
        content = {_PROBLEM: {"schema": schema, "example": EXAMPLES["Problem"]}}
        call["responses"].setdefault(status, {"description": text, "content": content})


def _examples(call: dict[str, Any]) -> None:
    answers = [one for status, one in call["responses"].items() if status.startswith("2")]
    for holder in (call.get("requestBody", {}), *answers):
        for media in holder.get("content", {}).values():
            example = _example(media.get("schema", {}), call["operationId"])
            if example is not None:
                media["example"] = example


def _example(schema: dict[str, Any], call: str) -> Any:
    if schema.get("type") == "array":
        return [_example(schema["items"], call)]
    name = schema.get("$ref", call).rpartition("/")[2]
    if name.startswith("Paginated"):
        item = EXAMPLES.get(name.removeprefix("Paginated").removesuffix("List"))
        return {"next": None, "previous": None, "results": [item]}
    return EXAMPLES.get(name)
