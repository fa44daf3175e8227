"""Check what devices tell of themselves against the attribute schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clients.models import AttributeDefinition
from core.errors import Invalid

MAX_ATTRIBUTES = 64
MAX_TEXT = 100
MAX_NUMBER = 1e15
"""Far above any attribute, and whole numbers up to here are exact."""


class BadAttributes(Invalid):
    """Attributes that the schema does not know or of another type."""

    code = "bad_attributes"


def check_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes in the types of the schema. Raises BadAttributes naming each fault."""
    return check_against(schema(), attributes)


def schema() -> dict[str, str]:
    """Return the type of each attribute that devices may tell."""
    return dict(AttributeDefinition.objects.values_list("name", "type"))


def check_against(types: Mapping[str, str], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Do as :func:`check_attributes`, with the schema at hand."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise BadAttributes(f"{len(attributes)} attributes; at most {MAX_ATTRIBUTES} allowed")
    known: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, value in attributes.items():
        if name not in types:
            faults[name] = f"not in the attribute schema; known are {', '.join(sorted(types))}"
        elif not _is_of(types[name], value):
            faults[name] = f"{_shown(value)} is not a {types[name]}"
        else:
            known[name] = value
    if faults:
        raise BadAttributes(
            "; ".join(f"{name}: {text}" for name, text in faults.items()), errors=faults
        )
    return known


def _is_of(kind: str, value: Any) -> bool:
    if kind == AttributeDefinition.Type.BOOLEAN:
        return isinstance(value, bool)
    if kind == AttributeDefinition.Type.STRING:
        # Printable, so without NULs and surrogates, which no column can hold.
        return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -MAX_NUMBER <= value <= MAX_NUMBER
    )


def _shown(value: Any) -> str:
    if isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        # It may have more digits than Python would write.
        return f"a number beyond ±{MAX_NUMBER:g}"
    return repr(str(value)[:40])
