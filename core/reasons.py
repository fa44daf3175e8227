"""Why an operator changed something: every such change asks for it, and its history tells it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

LONGEST = 300


class Change(Protocol):
    """A row of a history."""

    author: str
    created_at: datetime


def faults(reason: str) -> dict[str, str]:
    """Return what is wrong with a reason, as a field's fault; nothing if it says something."""
    if not reason.strip():
        return {"reason": "say why, for those who read the history"}
    if len(reason) > LONGEST:
        return {"reason": f"{len(reason)} characters; up to {LONGEST} are allowed"}
    return {}


def told(reason: str) -> dict[str, str]:
    """Return what an audit line keeps of a reason: nothing if none was asked for."""
    return {"reason": reason} if reason else {}


def before(old: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what an audit line keeps of values that were replaced: nothing if there were none."""
    return {f"{name}_before": value for name, value in (old or {}).items()}


def of_revert(what: str, old: Change, because: str = "") -> str:
    """Return the reason of a change that puts back what a row of the history says."""
    text = f"back to the {what} of {old.created_at:%Y-%m-%d %H:%M} UTC by {old.author}"
    return (f"{text}: {because}" if because else text)[:LONGEST]
