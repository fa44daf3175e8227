"""What is wrong with a job file, said for people: the field, its value, and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import msgspec.inspect
import msgspec.structs

MEANT = {
    "'^[0-9a-f]{64}": "a digest is 64 of the digits 0-9 and a-f, as `propius upload` prints it",
    "'^[\\\\w]": "a letter or digit first; then spaces and _ . : / - are allowed too",
}
"""What a regular expression means, for those who read none."""


def every(raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return all faults of an object that should be a ``kind``, by dotted field."""
    found: dict[str, str] = {}
    _collect(raw, kind, "", found)
    return found


def _collect(value: Any, hint: Any, path: str, found: dict[str, str]) -> None:
    is_union = isinstance(hint, UnionType) or get_origin(hint) is Union
    structs = [
        one
        for one in (get_args(hint) if is_union else (hint,))
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    ]
    chosen = _chosen(value, structs) if isinstance(value, Mapping) else None
    if chosen is not None:
        _collect_fields(value, chosen, path, found)
        return
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        field, text = named(str(error), value, hint)
        found[".".join(part for part in (path, field) if part)] = text


def _chosen(
    value: Mapping[str, Any], structs: list[type[msgspec.Struct]]
) -> type[msgspec.Struct] | None:
    """Return the struct that an object is meant to be; of several, its tag tells."""
    for one in structs:
        tag_field, tag = one.__struct_config__.tag_field, one.__struct_config__.tag
        if tag_field is None or value.get(tag_field) == tag:
            return one
    return None


def _collect_fields(
    value: Mapping[str, Any], kind: type[msgspec.Struct], path: str, found: dict[str, str]
) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag_field = kind.__struct_config__.tag_field
    for name, one in value.items():
        at = f"{path}.{name}".lstrip(".")
        if name in fields:
            _collect(one, fields[name].type, at, found)
        elif name != tag_field and kind.__struct_config__.forbid_unknown_fields:
            found[at] = _unknown(name, [*([tag_field] if tag_field else ()), *fields])
    for name, field in fields.items():
        if field.required and name not in value:
            found[f"{path}.{name}".lstrip(".")] = "this field is required"


def _unknown(name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(str(name), allowed, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown field {name!r}; {meant}allowed: {', '.join(allowed)}"


def named(message: str, raw: Any, kind: Any) -> tuple[str, str]:
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
    text += "".join(f"; {words}" for pattern, words in MEANT.items() if pattern in text)
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


def _allowed(steps: list[str], kind: Any) -> str:
    """Name the values of a closed choice, which msgspec leaves out."""
    info = msgspec.inspect.type_info(kind)
    kinds: list[Any] = [*getattr(info, "types", (info,))]
    for step in steps:
        if any(step == getattr(one, "tag_field", None) for one in kinds):
            return "; allowed: " + ", ".join(str(one.tag) for one in kinds)
        fields = [field for kind in kinds for field in getattr(kind, "fields", ())]
        kinds = [field.type for field in fields if field.encode_name == step]
        kinds = [one for kind in kinds for one in getattr(kind, "types", (kind,))]
    values = [value for kind in kinds for value in getattr(kind, "values", ())]
    return "; allowed: " + ", ".join(str(value) for value in values) if values else ""
