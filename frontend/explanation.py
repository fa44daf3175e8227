"""Why a job waits, in words for its page. Pure: an explanation in, terms and sentences out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clients.selectors import SMALL
from frontend import device_codes, words
from scheduling.explaining import Explanation, Refusal, TenantPart

SHOWN = 5
BY_OPERATOR = {"maintenance": "Maintenance", "quarantined": "Quarantine"}


def facts(found: Explanation) -> list[tuple[str, str]]:
    """Return what stands behind a wait as (term, sentence); nothing if the job does not wait."""
    if found.code in BY_OPERATOR:
        return [(BY_OPERATOR[found.code], f"{found.message[:1].upper()}{found.message[1:]}.")]
    if found.needed == 0:
        return []
    shown = [("Devices", _devices(found)), ("Place", _place(found)), ("Likely", _likely(found))]
    if found.refusals:
        shown.insert(1, ("Refused", refused(found.refusals)))
    if found.tenant is not None:
        shown.append(("Your share", _share(found.tenant)))
    return shown


def _devices(found: Explanation) -> str:
    needed = f"{words.count(found.needed, 'more device')} needed."
    if found.idle == 0 and found.bound_elsewhere == 0:
        return f"{needed} No other device that fits its constraints is connected."
    return (
        f"{needed} Of those that fit its constraints, {_told(found.idle)} connected and free, "
        f"{_told(found.bound_elsewhere)} at other work."
    )


def refused(refusals: Sequence[Refusal]) -> str:
    """Say why devices refused, and how many."""
    parts = []
    for one in refusals[:SHOWN]:
        many = "a few devices" if one.devices is None else words.count(one.devices, "device")
        parts.append(f"{many} refused: {device_codes.declined(one.code)} ({one.code})")
    more = len(refusals) - SHOWN
    if more > 0:
        parts.append(f"and for {words.count(more, 'other reason')}")
    return "; ".join(parts) + "."


def _told(count: int | None) -> str:
    number = f"fewer than {SMALL}" if count is None else f"{count:,}".replace(",", "\u202f")
    return f"{number} {'is' if count == 1 else 'are'}"


def _place(found: Explanation) -> str:
    rule = f"Policy {found.policy}. {found.rule}"
    if found.position is None:
        return rule
    if found.position == 1:
        return f"Next. {rule}"
    text = (
        f"{words.count(found.rounds_ahead, 'round')} ahead, with "
        f"{words.count(found.slots_ahead, 'open slot')}"
    )
    if found.ahead_by_priority:
        text += f"; {found.ahead_by_priority} of them by a higher priority"
    names = sorted({one.job_name for one in found.named})
    if names:
        more = "" if len(names) <= 3 else f" and {len(names) - 3} more"
        text += f"; of your own: {', '.join(names[:3])}{more}"
    return f"{text}. {rule}"


def _likely(found: Explanation) -> str:
    if found.tenant is not None and found.tenant.is_full:
        return "Until devices of your tenant become free."
    if found.likely_s is None:
        return "Nobody can say: no device that fits has checked in during the last hour."
    if found.likely_s < 1:
        return "As soon as the devices that are free have been asked."
    return f"About {words.duration(_coarse(found.likely_s))}, as devices came in the last hour."


def _coarse(seconds: float) -> float:
    """Round up to two digits, so that the page is not another one at each look."""
    step = 10.0 ** max(0, math.floor(math.log10(seconds)) - 1)
    return float(math.ceil(seconds / step) * step)


def _share(part: TenantPart) -> str:
    allowed = "" if part.allowed is None else f" of {part.allowed} allowed"
    text = f"{part.held}{allowed} held"
    if part.of_bound is not None:
        text += f", {100 * part.of_bound:.0f}\u202f% of all that are at work"
    if part.of_weights is not None:
        text += f"; its part by weight is {100 * part.of_weights:.0f}\u202f%"
    if part.is_full:
        text += ". It is at its limit"
    return f"{text}."
