"""Why devices turn rounds down: the codes that are known, and how often each job hears them.

A code is text of a device, and what is counted is told to tenants: so only codes from a fixed list
and fields that the job itself asked for pass; all else is ``other``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.instructions import NoteRefusals
from propius import wire

LASTING = frozenset(
    {"private_constraint", "consent", "dataset", "unsupported", "probe_limit", "too_large"}
)
"""Reasons to turn a round down that last; ``dataset.x.shape`` is one of ``dataset``."""
PASSING = frozenset({"busy", "condition", "preparing", "too_slow"})
KNOWN = LASTING | PASSING
OTHER = "other"
FACETS = ("dtype", "shape", "classes")


def lasting(refused: Mapping[str, str]) -> tuple[str, ...]:
    """Return the rounds that the device will not take however often they are shown."""
    return tuple(one for one, code in refused.items() if code.partition(".")[0] in LASTING)


def known(code: str, workload: Mapping[str, Any]) -> str:
    """Return ``code`` if it is known, for a job with this workload; else :data:`OTHER`.

    Examples
    --------
    >>> needs = {"needs": {"x": {"shape": [28, 28]}}}
    >>> known("dataset.x.shape", needs), known("dataset.ward.oncology", needs)
    ('dataset.x.shape', 'other')
    """
    if code in KNOWN:
        return code
    head, _, field = code.partition(".")
    name, _, facet = field.partition(".")
    is_need = head == "dataset" and name in workload.get("needs", {})
    return code if is_need and (field == name or facet in FACETS) else OTHER


def of_choice(offer: wire.Offer, refused: Mapping[str, str]) -> NoteRefusals:
    """Note job and code for each round of ``offer`` that was refused."""
    return NoteRefusals(
        tuple(
            (one.job, known(refused[one.round], one.workload))
            for one in offer.candidates
            if one.round in refused
        )
    )


def of_decline(held: wire.Assignment, code: str) -> NoteRefusals:
    """Note job and code of an assignment that was given back untouched."""
    return NoteRefusals(((held.job, known(code, held.workload)),))


class Refusals:
    """Gathers who refused which job and why, until it is told of all at once."""

    def __init__(self) -> None:
        self._found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def note(self, device: str, reasons: Iterable[tuple[str, str]]) -> None:
        """Add one device's reasons, each a job and a known code."""
        for reason in reasons:
            self._found[reason].add(device)

    def take(self) -> Mapping[tuple[str, str], set[str]]:
        """Return what was gathered, and begin anew."""
        found, self._found = self._found, defaultdict(set)
        return found
