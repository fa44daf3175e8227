"""Energy that the machine used, where it can be measured: RAPL counters, or the battery's charge.

What is counted is the machine's (its processors', with RAPL) while the agent worked, so an upper
bound of the work's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

JOULES_PER_MICROWATT_HOUR = 3600e-6


class EnergyMeter(Protocol):
    """Counts joules from some start on."""

    def total_j(self) -> float | None:
        """Return the count now, ``None`` if it cannot be measured."""
        ...


class SystemEnergy:
    """Reads ``/sys``. RAPL can often be read by root only.

    Parameters
    ----------
    sys
        The root of sysfs.
    """

    def __init__(self, sys: Path = Path("/sys")) -> None:
        self._sys = sys
        self._last: dict[Path, int] = {}
        self._counted_uj = 0

    def total_j(self) -> float | None:
        """See :class:`EnergyMeter`; call it at least once an hour, for the counters wrap."""
        packages = sorted(self._sys.glob("class/powercap/intel-rapl:?"))
        readings = {one: _number(one / "energy_uj") for one in packages}
        if packages and None not in readings.values():
            for package, now in readings.items():
                assert now is not None
                step = now - self._last.get(package, now)
                self._counted_uj += step if step >= 0 else step + self._range(package)
                self._last[package] = now
            return self._counted_uj * 1e-6
        return self._battery_j()

    def _range(self, package: Path) -> int:
        return _number(package / "max_energy_range_uj") or 0

    def _battery_j(self) -> float | None:
        """Return what the batteries have given, counted downwards from their charge."""
        charges = []
        for battery in sorted(self._sys.glob("class/power_supply/BAT*")):
            try:
                discharging = (battery / "status").read_text().strip() == "Discharging"
            except OSError:
                return None
            charge = _number(battery / "energy_now")
            if not discharging or charge is None:
                return None
            charges.append(charge)
        return -sum(charges) * JOULES_PER_MICROWATT_HOUR if charges else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
