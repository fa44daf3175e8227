"""Versions of the devices' software, and which devices a requirement has come to. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

UPGRADE_NEEDED, UPGRADE_REQUIRED, BARRED = "upgrade_needed", "upgrade_required", "sdk_quarantined"
NOTICES = frozenset({UPGRADE_NEEDED, UPGRADE_REQUIRED, BARRED})
"""Codes of what a device is told of its own software, without losing its connection."""
PARTS = 10_000
_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,3}")


@dataclass(frozen=True, slots=True)
class Notice:
    """What a device is told of its software; one that ``bars`` gets no work until it changes."""

    code: str
    message: str
    errors: tuple[tuple[str, str], ...] = ()
    bars: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the devices, in percent, and by when they must run what is required."""

    percent: float
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Requirement:
    """Devices of a pool (None: of all) that run ``software`` must run ``minimum`` or newer.

    It comes to devices in steps, each larger than the one before it and with a time of its own.
    """

    pool_id: UUID | None
    software: str
    minimum: str
    steps: tuple[Step, ...]

    def notice(self, device_id: str, pool_id: str, sdk: str, now: datetime) -> Notice | None:
        """Return what to tell a device; None if it meets this or is not concerned (yet)."""
        if self.pool_id is not None and str(self.pool_id) != pool_id:
            return None
        if meets(sdk, self.software, self.minimum) is not False:
            return None
        place = place_of(device_id, self.minimum)
        due_at = next((one.due_at for one in self.steps if place < one.percent), None)
        if due_at is None:
            return None
        needed = f"{self.software} {self.minimum} or newer"
        errors = (("sdk", f"{sdk!r}; {needed} is allowed"),)
        if now < due_at:
            text = f"this device runs {sdk}; {needed} is needed within {_words(due_at - now)}"
            return Notice(UPGRADE_NEEDED, text, errors)
        text = f"this device runs {sdk}; {needed} is required, and it gets no work until then"
        return Notice(UPGRADE_REQUIRED, text, errors, bars=True)


def version(text: str) -> tuple[int, ...] | None:
    """Return the numbers that a version begins with; None for what begins with no number.

    >>> version("0.2.0rc1"), version("2"), version("new")
    ((0, 2, 0), (2,), None)
    """
    found = _VERSION.match(text)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def meets(sdk: str, software: str, minimum: str) -> bool | None:
    """Tell whether what a device runs is new enough; None for other software.

    >>> [meets(one, "propius", "0.2") for one in ("propius/0.2.0", "propius 0.1.9", "other 9")]
    [True, False, None]
    """
    name, _, told = sdk.replace("/", " ", 1).partition(" ")
    if name != software:
        return None
    have, want = version(told), version(minimum)
    if have is None or want is None:
        return False
    size = max(len(have), len(want))
    return _padded(have, size) >= _padded(want, size)


def place_of(device_id: str, minimum: str) -> float:
    """Return a device's place in a rollout, in [0, 100): the same at each step, by chance.

    SQL must say the same, so it is a digest that Postgres has too.
    """
    digest = hashlib.md5(f"{minimum} {device_id}".encode(), usedforsecurity=False)
    return int(digest.hexdigest()[:8], 16) % PARTS * 100 / PARTS


def judged(
    device_id: str,
    pool_id: str,
    sdk: str,
    *,
    barred: dict[str, str],
    requirements: Sequence[Requirement],
    now: datetime,
) -> Notice | None:
    """Return the gravest of what there is to tell a device of its software."""
    if sdk in barred:
        return Notice(BARRED, barred[sdk], bars=True)
    told = [one.notice(device_id, pool_id, sdk, now) for one in requirements]
    found = [one for one in told if one is not None]
    return next((one for one in found if one.bars), found[0] if found else None)


def _padded(numbers: tuple[int, ...], size: int) -> tuple[int, ...]:
    return numbers + (0,) * (size - len(numbers))


def _words(left: timedelta) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = int(left.total_seconds() // size)
        if count:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "a minute"
