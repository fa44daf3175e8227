"""How assignments of a round ended without a report, grouped, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from clients.telling import SMALL
from frontend import device_codes, words

LATE = "late"
FAILED = "failed"
CALLED_BACK = "called back"

_CANCELLED = {
    "round_closed": "not back when the round closed",
    "fleet_stopped": "called back, as the operator stopped the fleet",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """Devices of one round that ended alike; some of them by their pseudonyms."""

    status: str
    code: str
    count: int
    names: tuple[str, ...] = field(default=())

    @property
    def group(self) -> str:
        """Late, failed (or declined), or called back for no fault of theirs."""
        if self.status == "cancelled":
            return LATE if self.code == "round_closed" else CALLED_BACK
        return LATE if self.status == "expired" else FAILED


def total(endings: Iterable[Ending], group: str) -> int:
    """Return how many devices are in a group."""
    return sum(one.count for one in endings if one.group == group)


def text(ending: Ending, *, is_open: bool) -> str:
    """Say how many ended so, who, and why.

    Why a device declines is its owner's business: of a few, in pools that are not one's own, no
    number is told and no name.
    """
    if ending.status == "declined" and not is_open and ending.count < SMALL:
        return f"fewer than {SMALL} {why(ending)}"
    number = f"{words.figure(ending.count)} {why(ending)}"
    if not ending.names or ending.status == "declined":
        return number
    more = ending.count - len(ending.names)
    others = f" and {more} more" if more > 0 else ""
    return f"{number}: {', '.join(ending.names)}{others}"


def why(ending: Ending) -> str:
    """Say what became of devices that ended so."""
    if ending.status == "expired":
        return "went silent"
    if ending.status == "cancelled":
        return _CANCELLED.get(ending.code, "called back, as the job or the round ended")
    if ending.status == "declined":
        return f"declined: {device_codes.declined(ending.code)}"
    return device_codes.failed(ending.code)
