"""Reads the state of the machine for the owner's conditions: psutil, ``/sys`` and NetworkManager.

Every reading may be missing; what that means is for :mod:`propius.agent.conditions`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psutil

from propius.agent.conditions import Readings

METERED_FOR_S = 15.0
"""How long an answer of NetworkManager is good for: asking starts a process."""
LOAD_OVER_S = 4.0


class Meter(Protocol):
    """Where readings come from. ``read`` may block for a moment: it is called in a thread."""

    def read(self) -> Readings:
        """Return the state of the machine now; usage of the day is filled in elsewhere."""
        ...


class SystemMeter:
    """The machine itself.

    Parameters
    ----------
    folder
        On the disk that is to keep space free.
    now
        Monotonic seconds; for tests.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now = now
        self._metered: tuple[float, bool | None] | None = None
        self._before: tuple[float, float, float] | None = None
        self._load = 0.0

    def read(self) -> Readings:
        """See :class:`Meter`."""
        now = self._now()
        if self._metered is None or now >= self._metered[0] + METERED_FOR_S:
            self._metered = now, metered()
        clock = time.localtime()
        return replace(
            Readings(),
            charging=charging(),
            metered=self._metered[1],
            load=self._others_load(now),
            temperature_c=temperature_c(),
            memory_free_mb=psutil.virtual_memory().available >> 20,
            disk_free_mb=shutil.disk_usage(self._folder).free >> 20,
            minute=clock.tm_hour * 60 + clock.tm_min,
        )

    def _others_load(self, now: float) -> float:
        """Return the share of all cores that others used of late.

        Without the agent's own part, or it would pause itself, find the machine idle, and so on.
        """
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        # guest time is in user time already
        busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        sample = now, busy, _own_cpu_s()
        if self._before is None:
            self._before = sample
            return self._load
        elapsed = (now - self._before[0]) * (os.cpu_count() or 1)
        if elapsed <= 0:
            return self._load
        used = (busy - self._before[1]) - max(0.0, sample[2] - self._before[2])
        share = min(1.0, max(0.0, used / elapsed))
        weight = min(1.0, (now - self._before[0]) / LOAD_OVER_S)
        self._load += weight * (share - self._load)
        self._before = sample
        return self._load


def has_battery() -> bool:
    """Tell whether this hardware runs on a battery at times."""
    return _battery() is not None


def charging() -> bool | None:
    """Tell whether the machine is on mains; without a battery it always is."""
    battery = _battery()
    if battery is None:
        return True
    return None if battery.power_plugged is None else bool(battery.power_plugged)


def temperature_c() -> float | None:
    """Return the hottest sensor of the processor, or of the machine if none is called so."""
    sensors: dict[str, list[Any]] = getattr(psutil, "sensors_temperatures", dict)()
    chips = [name for name in sensors if name in ("coretemp", "k10temp", "cpu_thermal")] or sensors
    found = [one.current for chip in chips for one in sensors[chip] if one.current > 0]
    return max(found, default=None)


def metered() -> bool | None:
    """Ask NetworkManager whether a connected network is metered; ``None`` if it cannot tell."""
    command = shutil.which("nmcli")
    if command is None:
        return None
    try:
        answer = subprocess.run(
            [command, "--terse", "--fields", "GENERAL.STATE,GENERAL.METERED", "device", "show"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return _metered_of(answer.stdout)


def _metered_of(text: str) -> bool | None:
    """Read blocks of ``GENERAL.STATE:100 (connected)`` and ``GENERAL.METERED:no (guessed)``."""
    verdicts = []
    connected = False
    for line in text.splitlines():
        field, _, value = line.partition(":")
        if field == "GENERAL.STATE":
            # 100 is connected; loopback and containers' bridges are "connected (externally)".
            connected = value.startswith("100") and "externally" not in value
        elif field == "GENERAL.METERED" and connected:
            verdicts.append(value.split(" ")[0])
    if "yes" in verdicts:
        return True
    return False if "no" in verdicts else None


def _battery() -> psutil._ntuples.sbattery | None:
    sensor = getattr(psutil, "sensors_battery", None)
    with contextlib.suppress(OSError, RuntimeError):
        return sensor() if sensor is not None else None
    return None


def _own_cpu_s() -> float:
    """Return processor seconds of this process and its children, ended ones included."""
    own = psutil.Process().cpu_times()
    total = own.user + own.system + getattr(own, "children_user", 0.0)
    total += getattr(own, "children_system", 0.0)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total
