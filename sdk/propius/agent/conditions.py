"""The owner's conditions: when this device may work. Pure: readings in, a verdict in words out.

``conditions.toml`` in the device's folder; every line may be left out::

    charging = true             # only while charging
    unmetered = true            # only on a network that costs nothing by the byte
    hours = ["22:00-06:30"]     # local time; may go over midnight
    cpu_load_max = 0.25         # of all cores, used by others than this agent
    temperature_max_c = 80
    memory_free_min_mb = 512    # left for others
    disk_free_min_mb = 1024
    seconds_a_day = 3600        # of training; "unlimited"
    bytes_a_day = 500_000_000   # both ways; "unlimited"
    grace_s = 60                # paused for longer, the assignment is given back
    memory_mb = 1024            # cap of training
    disk_mb = 1024              # cap of the download cache
    cores = 2                   # that training uses
    nice = 10                   # its priority, 0 to 19: the higher, the lower

On hardware with a battery the first two are ``true``, the load is at most 0.25 and the budgets are
as above, unless the file says otherwise; elsewhere nothing is asked. Training runs at ``nice`` 10
on at most half the cores everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from propius.agent import owner_files

IDLE_LOAD = 0.25
Unlimited = Literal["unlimited"]
Span = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d(?!\n)$")]
Share = Annotated[float, Meta(gt=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e15)]
Size = Annotated[int, Meta(ge=0, le=1 << 40)]
Say = Callable[[str, str], None]
Cap = Annotated[int, Meta(ge=64, le=1 << 30)]


class ConditionsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file; ``None`` is the default for this hardware."""

    charging: bool | None = None
    unmetered: bool | None = None
    hours: list[Span] = []
    cpu_load_max: Share | None = None
    temperature_max_c: Positive | None = None
    memory_free_min_mb: Size = 0
    disk_free_min_mb: Size = 256
    seconds_a_day: Positive | Unlimited | None = None
    bytes_a_day: Positive | Unlimited | None = None
    grace_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    memory_mb: Cap = 1024
    disk_mb: Cap = 1024
    cores: Annotated[int, Meta(ge=1, le=4096)] | None = None
    nice: Annotated[int, Meta(ge=0, le=19)] = 10


@dataclass(frozen=True, slots=True)
class Conditions:
    """The file with this hardware's defaults filled in; ``None`` asks for nothing."""

    charging: bool
    unmetered: bool
    hours: tuple[tuple[int, int], ...]
    cpu_load_max: float | None
    temperature_max_c: float | None
    memory_free_min_mb: int
    disk_free_min_mb: int
    seconds_a_day: float | None
    bytes_a_day: float | None
    grace_s: float
    memory_mb: int
    disk_mb: int
    cores: int
    nice: int


@dataclass(frozen=True, slots=True)
class Readings:
    """The state of the machine; ``None`` where it cannot be told.

    ``charging`` is true on hardware without a battery. ``load`` is what others than this agent use
    of all cores, in [0, 1]. ``minute`` counts from local midnight; ``used_s`` and ``used_bytes``
    are what the agent used since then.
    """

    charging: bool | None = True
    metered: bool | None = None
    load: float = 0.0
    temperature_c: float | None = None
    memory_free_mb: int = 1 << 30
    disk_free_mb: int = 1 << 30
    minute: int = 0
    used_s: float = 0.0
    used_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition that does not hold."""

    name: str
    words: str


def resolve(file: ConditionsFile, *, battery: bool, cores: int) -> Conditions:
    """Fill in the defaults for hardware with or without a battery and with so many cores."""
    return Conditions(
        charging=battery if file.charging is None else file.charging,
        unmetered=battery if file.unmetered is None else file.unmetered,
        hours=tuple(_span(one) for one in file.hours),
        cpu_load_max=(IDLE_LOAD if battery else None)
        if file.cpu_load_max is None
        else file.cpu_load_max,
        temperature_max_c=file.temperature_max_c,
        memory_free_min_mb=file.memory_free_min_mb,
        disk_free_min_mb=file.disk_free_min_mb,
        seconds_a_day=_budget(file.seconds_a_day, 3600.0 if battery else None),
        bytes_a_day=_budget(file.bytes_a_day, 500e6 if battery else None),
        grace_s=file.grace_s,
        memory_mb=file.memory_mb,
        disk_mb=file.disk_mb,
        cores=min(cores, file.cores or max(1, cores // 2)),
        nice=file.nice,
    )


def load(path: Path, *, battery: bool, cores: int) -> Conditions:
    """Read the conditions file. Raises :class:`owner_files.OwnerFileError`."""
    file = owner_files.read(path, ConditionsFile, missing=ConditionsFile())
    return resolve(file, battery=battery, cores=cores)


def unmet(conditions: Conditions, now: Readings) -> tuple[Reason, ...]:
    """Return the conditions that do not hold.

    Where it cannot be told, charging and an unmetered network count as not given, for a mistake
    would cost the owner; a temperature that nothing measures is passed over.

    Examples
    --------
    >>> night = resolve(ConditionsFile(hours=["22:00-06:30"]), battery=False, cores=4)
    >>> [one.words for one in unmet(night, Readings(minute=12 * 60))]
    ['it is 12:00; the hours are 22:00 to 06:30']
    """
    asked = conditions
    found: list[Reason] = []
    say: Say = lambda name, words: found.append(Reason(name, words))  # noqa: E731
    if asked.charging and now.charging is not True:
        say("charging", "on battery" if now.charging is False else "charging cannot be told")
    if asked.unmetered and now.metered is not False:
        say("unmetered", "the network is metered" if now.metered else
            "whether the network is metered cannot be told")  # fmt: skip
    if asked.hours and not any(_within(span, now.minute) for span in asked.hours):
        say("hours", f"it is {_clock(now.minute)}; the hours are {_hours(asked.hours)}")
    if asked.cpu_load_max is not None and now.load > asked.cpu_load_max:
        say("cpu_load_max", f"others use {now.load:.0%} of the processor; at most "
            f"{asked.cpu_load_max:.0%} is allowed")  # fmt: skip
    hottest, warm = asked.temperature_max_c, now.temperature_c
    if hottest is not None and warm is not None and warm > hottest:
        say("temperature_max_c", f"{warm:.0f} °C; at most {hottest:.0f} °C is allowed")
    _scarce(say, asked, now)
    return tuple(found)


def words(conditions: Conditions) -> list[str]:
    """Say the conditions in words, a line each."""
    one = conditions
    lines = []
    if one.charging:
        lines.append("only while charging")
    if one.unmetered:
        lines.append("only on an unmetered network")
    if one.hours:
        lines.append(f"only from {_hours(one.hours)}")
    if one.cpu_load_max is not None:
        lines.append(f"only while others use at most {one.cpu_load_max:.0%} of the processor")
    if one.temperature_max_c is not None:
        lines.append(f"only up to {one.temperature_max_c:.0f} °C")
    if one.memory_free_min_mb:
        lines.append(f"only while {one.memory_free_min_mb} MB of memory are free")
    lines.append(f"only while {one.disk_free_min_mb} MB of disk are free")
    if one.seconds_a_day is not None:
        lines.append(f"at most {one.seconds_a_day:.0f} s of work a day")
    if one.bytes_a_day is not None:
        lines.append(f"at most {one.bytes_a_day / 1e6:.0f} MB a day, both ways")
    lines.append(
        f"training uses {one.cores} {'core' if one.cores == 1 else 'cores'}, at most "
        f"{one.memory_mb} MB, at priority {one.nice} (19 is the lowest)"
    )
    lines.append(f"paused for more than {one.grace_s:.0f} s, it gives its work back")
    return lines


def _scarce(say: Say, asked: Conditions, now: Readings) -> None:
    if now.memory_free_mb < asked.memory_free_min_mb:
        say("memory_free_min_mb", f"{now.memory_free_mb} MB of memory free; "
            f"{asked.memory_free_min_mb} MB are to stay free")  # fmt: skip
    if now.disk_free_mb < asked.disk_free_min_mb:
        say("disk_free_min_mb", f"{now.disk_free_mb} MB of disk free; "
            f"{asked.disk_free_min_mb} MB are to stay free")  # fmt: skip
    if asked.seconds_a_day is not None and now.used_s >= asked.seconds_a_day:
        say("seconds_a_day", f"{now.used_s:.0f} s worked today; {asked.seconds_a_day:.0f} s a day "
            "are allowed")  # fmt: skip
    if asked.bytes_a_day is not None and now.used_bytes >= asked.bytes_a_day:
        say("bytes_a_day", f"{now.used_bytes / 1e6:.0f} MB moved today; "
            f"{asked.bytes_a_day / 1e6:.0f} MB a day are allowed")  # fmt: skip


def _budget(said: float | Unlimited | None, default: float | None) -> float | None:
    if said is None:
        return default
    return None if said == "unlimited" else said


def _span(text: str) -> tuple[int, int]:
    begin, end = ((int(one[:2]) * 60 + int(one[3:])) for one in text.split("-"))
    return begin, end


def _within(span: tuple[int, int], minute: int) -> bool:
    begin, end = span
    # Equal ends are the whole day.
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _hours(spans: tuple[tuple[int, int], ...]) -> str:
    return " and ".join(f"{_clock(begin)} to {_clock(end)}" for begin, end in spans)
