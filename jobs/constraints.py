"""Public constraints: which devices a job may use. Pure: no Django, no I/O.

Jobs with equal public constraints form a constraint group (Venn, arXiv 2312.08298, section 4.1);
devices with equal public attributes share a profile; a profile's signature is the set of groups
that it meets. The scheduler plans over signatures, never over single devices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from propius import adaptive, constraints

CODECS = "codec"
"""The kind of workload under which a device names the codecs that it knows."""
EVERYONES = "fp32"
"""The codec that every device knows: tensors as they are."""
PROGRAM_FORMAT = "1"
WITH_FROZEN = PROGRAM_FORMAT + "+frozen"
"""What a device says that can keep tensors beside the parameters, by digest."""
WITH_CONTROL = PROGRAM_FORMAT + "+control"
"""What one says that keeps a control variate between rounds, and frozen tensors too."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Public attributes of devices, with what they can run and the pool they are in."""

    attributes: Mapping[str, constraints.Scalar]
    workloads: Mapping[str, list[str]]
    pool_id: str

    def as_json(self) -> str:
        """Return the canonical text of this profile; equal profiles have equal texts."""
        workloads = {kind: sorted(self.workloads[kind]) for kind in sorted(self.workloads)}
        return _canonical(
            {"attributes": dict(self.attributes), "workloads": workloads, "pool": self.pool_id}
        )

    @property
    def key(self) -> str:
        """Return 16 hex characters that name this profile."""
        return _digest(self.as_json())

    @staticmethod
    def from_json(text: str | bytes) -> Profile:
        """Read back what :meth:`as_json` wrote."""
        plain = json.loads(text)
        return Profile(plain["attributes"], plain["workloads"], plain["pool"])


@dataclass(frozen=True, slots=True)
class Group:
    """All jobs with equal public constraints, workload requirement, pools and codecs.

    Of ``codecs`` a device must know one; without any, those that all devices know will do.
    """

    id: str
    conditions: Mapping[str, Any]
    workload: tuple[str, str]
    pools: frozenset[str]
    codecs: frozenset[str] = frozenset()
    _parsed: constraints.Constraint = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parsed", constraints.parse(self.conditions))

    def admits(self, profile: Profile) -> bool:
        """Tell whether a device of ``profile`` may take this group's jobs."""
        kind, name = self.workload
        return (
            profile.pool_id in self.pools
            and name in profile.workloads.get(kind, ())
            and self._can_send(profile.workloads.get(CODECS))
            and constraints.matches(self._parsed, profile.attributes)
        )

    def _can_send(self, known: list[str] | None) -> bool:
        # A device of an older kind says nothing of codecs, and declines what it does not know.
        return not self.codecs or known is None or not self.codecs.isdisjoint(known)

    @staticmethod
    def of(effective: Mapping[str, Any]) -> Group:
        """Build the group of what :func:`effective` returned."""
        kind, name = effective["workload"]
        return Group(
            id=group_of(effective),
            conditions=effective["conditions"],
            workload=(kind, name),
            pools=frozenset(effective["pools"]),
            codecs=frozenset(effective.get("codecs", ())),
        )


def effective(spec: Mapping[str, Any], pools: Iterable[str]) -> dict[str, Any]:
    """Return all that the platform matches for a job: its conditions and the implicit ones.

    Parameters
    ----------
    spec
        A normalised job spec (:func:`propius.spec.normalised`).
    pools
        Ids of the pools that its tenant may use and that it asked for.
    """
    workload = spec["workload"]
    if workload["kind"] == "program":
        needs = ["program", _program_format(spec)]
    else:
        needs = [workload["kind"], workload["handler"]]
    found = {
        "conditions": dict(spec["constraints"]["public"]),
        "workload": needs,
        "pools": sorted(pools),
    }
    allowed = codecs(spec)
    return found if EVERYONES in allowed else found | {"codecs": sorted(allowed)}


def codecs(spec: Mapping[str, Any]) -> list[str]:
    """Return the codecs that a job's updates may be in, its own first and then the best first."""
    adapted = (spec["workload"].get("adaptive") or {}).get("codecs", [])
    return adaptive.allowed_codecs(spec["codec"], [*spec.get("codec_fallbacks", []), *adapted])


def _program_format(spec: Mapping[str, Any]) -> str:
    if spec["workload"].get("train", {}).get("control_variates"):
        return WITH_CONTROL
    return WITH_FROZEN if spec.get("frozen") else PROGRAM_FORMAT


def group_of(effective: Mapping[str, Any]) -> str:
    """Return 16 hex characters that name the constraint group."""
    return _digest(_canonical(effective))


def signature(profile: Profile, groups: Iterable[Group]) -> str:
    """Return the ids of the groups that ``profile`` meets, sorted and joined with ``+``."""
    return "+".join(sorted(group.id for group in groups if group.admits(profile)))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
