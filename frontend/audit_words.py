"""The audit in words: what was done, and what is told of it. Pure: rows' parts in, texts out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from frontend import words

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_DIGEST = re.compile(r"[0-9a-f]{64}$")
_DID = {
    "device.enrol": "let a device in",
    "device.revoke": "shut a device out",
    "enrolment_token.create": "made an enrolment token",
    "enrolment_token.revoke": "revoked an enrolment token",
    "invitation.accept": "accepted an invitation",
    "invitation.create": "invited",
    "invitation.revoke": "took an invitation back",
    "job.cancel": "cancelled a job",
    "job.clone": "cloned a job",
    "job.finish": "ended a job",
    "job.pause": "paused a job",
    "job.resume": "resumed a job",
    "job.submit": "submitted a job",
    "member.remove": "removed a member",
    "member.set": "gave a role to",
    "parameters.upload": "uploaded parameters",
    "pool.create": "created a pool",
    "pool.delete": "deleted a pool",
    "pool.rename": "renamed a pool",
    "program.upload": "uploaded a program",
    "quarantine.lift": "lifted the quarantine of",
    "quarantine.put": "put into quarantine",
    "quota.set": "set the quota of",
    "round.start": "started a round",
    "round.upload": "uploaded a round’s parameters",
    "share.set": "set the share of",
    "tenant.create": "created the tenant",
    "tenant.rename": "renamed the tenant",
    "token.create": "made an API token",
    "token.revoke": "revoked an API token",
    "version.pin": "pinned or unpinned a version",
    "webhook.create": "made a webhook",
    "webhook.delete": "deleted a webhook",
    "webhook.test": "tested a webhook",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is told of a change; ``at`` if it is a time, which the page writes."""

    name: str
    text: str
    at: datetime | None = None


def did(action: str) -> str:
    """Say what was done; an action that is not known here is told as it is."""
    return _DID.get(action, action.replace(".", ": ").replace("_", " "))


def facts(detail: Mapping[str, Any]) -> list[Fact]:
    """Return what is told of a change, in the order of its names; ids tell a reader nothing."""
    return [
        _fact(name, value) for name, value in sorted(detail.items()) if not _ID.match(str(value))
    ]


def named(target: str) -> str:
    """Return what was changed as it is shown: of a digest, the beginning tells it apart."""
    return f"{target[:12]}…" if _DIGEST.match(target) else target


def _fact(name: str, value: Any) -> Fact:
    if name.endswith("_at"):
        name = name.removesuffix("_at")
        try:
            return Fact(_spaced(name), "", datetime.fromisoformat(value))
        except (TypeError, ValueError):
            pass
    if name.endswith("_bytes") and isinstance(value, int):
        return Fact(_spaced(name.removesuffix("_bytes")), words.size(value))
    return Fact(_spaced(name), _text(value))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return words.figure(value)
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items()) or "–"
    return str(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
