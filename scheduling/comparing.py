"""Two replays side by side, in words and in rows with units. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scheduling.replaying import Replay, TenantReplay

NOTICEABLE = 0.02
"""Less than so much of a difference is none: the replay is not more exact than that."""
NOTICEABLE_S = 1.0
FEW_JOBS, FEW_MINUTES = 5, 30


@dataclass(frozen=True, slots=True)
class Row:
    """One measure under what is in force and what is proposed; parts are of the larger, in percent.

    ``better`` is None where neither is, or where more is not better.
    """

    label: str
    present: str
    proposed: str
    change: str
    present_part: float = 0.0
    proposed_part: float = 0.0
    better: bool | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """One measure by tenant."""

    title: str
    rows: tuple[Row, ...]


def duration(seconds: float | None) -> str:
    """Write a time with its unit; a dash for what never came about.

    >>> duration(42.4), duration(150), duration(9000), duration(None)
    ('42 s', '2.5 min', '2.5 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{_short(seconds / 60)} min"
    return f"{_short(seconds / 3_600)} h"


def rows(present: Replay, proposed: Replay) -> list[Row]:
    """Return the measures of the whole fleet."""
    pairs = (
        ("Mean time to complete a job", present.mean_completion_s, proposed.mean_completion_s),
        ("Median of it", present.median_completion_s, proposed.median_completion_s),
        ("Mean wait of a round for its devices", present.waiting_s, proposed.waiting_s),
    )
    found = [_times(*pair) for pair in pairs]
    found.append(_utilisation(present.utilisation, proposed.utilisation))
    found.append(_counts("Jobs that finish", present.finished, proposed.finished, up=True))
    aborted = present.rounds_aborted, proposed.rounds_aborted
    found.append(_counts("Attempts at rounds that fail", *aborted, up=False))
    return found


def charts(present: Replay, proposed: Replay) -> list[Chart]:
    """Return the measures of which tenants ask, tenant by tenant."""
    pairs = _paired(present, proposed)
    measures: tuple[tuple[str, Callable[[TenantReplay], float | None]], ...] = (
        ("Mean time to complete a job", lambda one: one.mean_completion_s),
        ("Mean wait of a round for its devices", lambda one: one.waiting_s),
        ("Time of devices at work", lambda one: one.device_s),
    )
    return [
        Chart(title, _scaled([(one.tenant, of(one), of(two)) for one, two in pairs]))
        for title, of in measures
    ]


def sentences(present: Replay, proposed: Replay, *, subject: str) -> list[str]:
    """Say what would change, the most important first. ``subject`` names the proposal."""
    found = [_completion(present, proposed, subject)]
    if proposed.finished != present.finished:
        found.append(
            f"{proposed.finished} of {proposed.jobs} jobs would finish instead of "
            f"{present.finished}, so the times are not of the same jobs."
        )
    waits = [_wait(*pair) for pair in _paired(present, proposed)]
    found += [text for text in waits if text] or ["No tenant would wait noticeably longer or less."]
    if present.utilisation is not None and proposed.utilisation is not None:
        parts = [f"{100 * one.utilisation:.0f} %" for one in (proposed, present) if one.utilisation]
        if len(set(parts)) == 2:
            found.append(f"Devices would be at work {parts[0]} of the time instead of {parts[1]}.")
    return found


def caveats(*, jobs: int, minutes: int, tiers: bool) -> list[str]:
    """Say how far to trust it."""
    found = []
    if jobs < FEW_JOBS or minutes < FEW_MINUTES:
        found.append(
            f"Only {_plural(jobs, 'job')} and {_plural(minutes, 'minute')} were recorded in that "
            "time: take it as a hint. Preview more hours, or come back when more jobs have run."
        )
    if tiers:
        found.append(
            "Speed tiers are not replayed: the record does not tell how fast each device was, so "
            "both sides run without them."
        )
    found.append(
        "Devices are taken to be alike and to stay for an hour after each check-in, and each task "
        "to take what its job's tasks have taken: compare the two sides, do not predict by them."
    )
    return found


def _completion(present: Replay, proposed: Replay, subject: str) -> str:
    before, after = present.mean_completion_s, proposed.mean_completion_s
    if before is None or after is None:
        return f"Under {'neither' if before is after else 'one of the two'} would a job finish."
    change = (after - before) / before if before else 0.0
    if abs(change) < NOTICEABLE:
        return f"{subject} would end jobs as soon as now, after {duration(after)} on average."
    word = "sooner" if change < 0 else "later"
    return (
        f"{subject} would end jobs {abs(100 * change):.0f} % {word}: after {duration(after)} "
        f"instead of {duration(before)} on average."
    )


def _wait(present: TenantReplay, proposed: TenantReplay) -> str:
    before, after = present.waiting_s, proposed.waiting_s
    if before is None or after is None:
        return ""
    change = after - before
    if abs(change) < max(NOTICEABLE_S, NOTICEABLE * before):
        return ""
    word = "longer" if change > 0 else "less"
    return (
        f"Tenant {present.tenant} would wait {duration(abs(change))} {word} for the devices of a "
        f"round: {duration(after)} instead of {duration(before)}."
    )


def _paired(present: Replay, proposed: Replay) -> list[tuple[TenantReplay, TenantReplay]]:
    after = {one.tenant: one for one in proposed.tenants}
    return [(one, after[one.tenant]) for one in present.tenants if one.tenant in after]


def _times(label: str, before: float | None, after: float | None) -> Row:
    (row,) = _scaled([(label, before, after)])
    return row


def _scaled(found: Iterable[tuple[str, float | None, float | None]]) -> tuple[Row, ...]:
    found = list(found)
    largest = max((one or 0.0 for _, *both in found for one in both), default=0.0) or 1.0
    return tuple(
        Row(
            label,
            duration(before),
            duration(after),
            _change(before, after),
            100 * (before or 0.0) / largest,
            100 * (after or 0.0) / largest,
            _better(before, after, up=False),
        )
        for label, before, after in found
    )


def _utilisation(before: float | None, after: float | None) -> Row:
    return Row(
        "Devices at work, of the time that they were there",
        _percent(before),
        _percent(after),
        _points(before, after),
        100 * (before or 0.0),
        100 * (after or 0.0),
        _better(before, after, up=True),
    )


def _points(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    points = round(100 * after) - round(100 * before)
    return f"{points:+d} points" if points else "none"


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.0f} %"


def _counts(label: str, before: int, after: int, *, up: bool) -> Row:
    largest = max(before, after, 1)
    parts = 100 * before / largest, 100 * after / largest
    change = f"{after - before:+d}" if after != before else "none"
    return Row(label, str(before), str(after), change, *parts, _better(before, after, up=up))


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    if abs(after - before) < max(NOTICEABLE_S, NOTICEABLE * before):
        return "none"
    return f"{100 * (after - before) / before:+.0f} %" if before else f"+{duration(after)}"


def _better(before: float | None, after: float | None, *, up: bool) -> bool | None:
    if before is None or after is None or abs(after - before) <= NOTICEABLE * max(before, after):
        return None
    return (after > before) == up


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
