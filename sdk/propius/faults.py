"""What is wrong with a job file, said for people: the field, its value, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import msgspec.inspect


def named(message: str, raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> tuple[str, str]:
    """Turn the message of a failed conversion to ``kind`` into (dotted field, text with value)."""
    text, _, path = message.partition(" - at `$")
    steps = _steps(path.rstrip("`"), raw)
    field = ".".join(steps)
    for found in re.finditer(r"(unknown field|missing required field) `(.+)`", text):
        field = f"{field}.{found[2]}".lstrip(".")
        unknown = found[1] == "unknown field"
        return field, f"unknown field {found[2]!r}" if unknown else "this field is required"
    value: Any = raw
    for step in steps:
        value = value[int(step)] if isinstance(value, list | tuple) else value.get(step)
    shown = repr(value)
    text += _allowed(steps, kind)
    return field, f"{shown if len(shown) <= 80 else shown[:77] + '...'} is not allowed: {text}"


def _steps(path: str, raw: Any) -> list[str]:
    """Split msgspec's path; it hides a dictionary's key as ``[...]``, found here by its value."""
    steps: list[str] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        step = name or index
        if step == "..." and isinstance(raw, Mapping):
            faulty = [
                key for key, value in raw.items() if not isinstance(value, float | int | str | bool)
            ]
            step = str(next(iter(faulty), "?"))
        steps.append(step)
        if isinstance(raw, list | tuple):
            raw = raw[int(step)]
        else:
            raw = raw.get(step) if isinstance(raw, Mapping) else None
    return steps


def _allowed(steps: list[str], kind: type[msgspec.Struct]) -> str:
    """Name the values of a closed choice, which msgspec leaves out."""
    kinds: list[Any] = [msgspec.inspect.type_info(kind)]
    for step in steps:
        if any(step == getattr(one, "tag_field", None) for one in kinds):
            return "; allowed: " + ", ".join(str(one.tag) for one in kinds)
        fields = [field for kind in kinds for field in getattr(kind, "fields", ())]
        kinds = [field.type for field in fields if field.encode_name == step]
        kinds = [one for kind in kinds for one in getattr(kind, "types", (kind,))]
    values = [value for kind in kinds for value in getattr(kind, "values", ())]
    return "; allowed: " + ", ".join(str(value) for value in values) if values else ""
