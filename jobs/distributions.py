"""What devices are like, by attribute; of shared pools no count that tells of single devices.

Each pool is told by itself, and what is told is added up: whoever looks at one pool and at all of
them learns nothing by the difference, nor by adding devices of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from clients import telling
from clients.models import AttributeDefinition, PoolCensus
from clients.selectors import SMALL
from clients.services import EXACT_VALUES
from core.figures import figure as written
from jobs.fleet import Figure, total
from tenants.scopes import system_scope

BARS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is, or the power of two at which its range begins; neither: other values."""

    power: int | None = None
    exact: str | None = None

    @property
    def label(self) -> str:
        """The value in words."""
        if self.power is not None:
            return f"{_power(self.power)} to {_power(self.power + 1)}"
        return "other values" if self.exact is None else self.exact or "(empty)"

    @property
    def low(self) -> float | None:
        """Where a range begins."""
        return None if self.power is None else 2.0**self.power

    @property
    def high(self) -> float | None:
        """Below what a range ends."""
        return None if self.power is None else 2.0 ** (self.power + 1)

    @property
    def order(self) -> tuple[int, float, str]:
        """Its place: numbers by size, then texts, then all others."""
        if self.power is not None:
            return (0, self.power, "")
        if self.exact is None:
            return (2, 0.0, "")
        try:
            return (0, float(self.exact), "")
        except ValueError:
            return (1, 0.0, self.exact)


REST = Value()
Counts = Mapping[Value, int]


@dataclass(frozen=True, slots=True)
class Bar:
    """Devices that have one value, or one range of values; ``percent`` of the longest bar."""

    value: Value
    figure: Figure
    percent: int

    @property
    def label(self) -> str:
        """The value in words."""
        return self.value.label


@dataclass(frozen=True, slots=True)
class Distribution:
    """One public attribute over all devices of some pools."""

    name: str
    unit: str
    description: str
    bars: list[Bar]


def distributions(
    pool_ids: Collection[UUID], *, shown: Collection[UUID] | None = None
) -> list[Distribution]:
    """Count devices by attribute: by value, or by powers of two where values are many.

    Powers of two, not the range of what is there: the ends of that would be single devices'.
    ``pool_ids`` are all that a tenant may use, of which those ``shown`` are told, or all.
    """
    with system_scope():
        taken = list(PoolCensus.objects.select_related("pool").filter(pool_id__in=pool_ids))
    found = []
    for one in AttributeDefinition.objects.order_by("name"):
        told = [
            _told(counts, is_shared=census.pool.is_shared)
            for census, counts in _alike(one, taken)
            if shown is None or census.pool_id in shown
        ]
        if any(told):
            found.append(Distribution(one.name, one.unit, one.description, _bars(told)))
    return found


def _alike(
    attribute: AttributeDefinition, taken: Iterable[PoolCensus]
) -> list[tuple[PoolCensus, Counts]]:
    """Return each pool's counts; numbers in powers of two if one pool has them so, or all many.

    Whichever pools are shown: counts by value and by power together could tell more.
    """
    read = [
        (census, {Value(power, exact): count for power, exact, count in rows})
        for census in taken
        if (rows := census.attributes.get(attribute.name))
    ]
    values = {value for _, counts in read for value in counts}
    is_many = len(values) > EXACT_VALUES or any(one.power is not None for one in values)
    if not is_many or attribute.type != AttributeDefinition.Type.NUMBER:
        return [*read]
    return [(census, _in_powers(counts)) for census, counts in read]


def _in_powers(counts: Counts) -> Counts:
    found: dict[Value, int] = {}
    for value, count in counts.items():
        power = value.power
        if power is None:
            power = math.floor(math.log2(max(float(value.exact or 0), 0.001)))
        found[Value(power)] = found.get(Value(power), 0) + count
    return found


def _told(counts: Counts, *, is_shared: bool) -> dict[Value, Figure]:
    """Return one pool's counts as they may be told."""
    if not is_shared:
        return {value: Figure(own=count) for value, count in counts.items()}
    # A value that few shared devices have could tell whose they are: only the sum is shown.
    rare = [value for value, count in counts.items() if value.power is None and count < SMALL]
    kept = {value: count for value, count in counts.items() if value not in rare}
    if rest := sum(counts[value] for value in rare):
        kept[REST] = rest
    # Their sum is known: it must not tell the only one that is hidden.
    told = telling.parts(list(kept.values()))
    return {
        value: Figure(shared=count, told=part)
        for (value, count), part in zip(kept.items(), told, strict=True)
    }


def _bars(told: Iterable[Mapping[Value, Figure]]) -> list[Bar]:
    sums: dict[Value, Figure] = {}
    for of_pool in told:
        for value, figure in of_pool.items():
            sums[value] = total((sums.get(value, Figure()), figure))
    ranked = sorted(sums, key=lambda value: -sums[value].drawn)
    for value in ranked[BARS_SHOWN:]:
        if value.power is None and value != REST:
            sums[REST] = total((sums.get(REST, Figure()), sums.pop(value)))
    most = max(figure.drawn for figure in sums.values())
    return [
        Bar(value, sums[value], round(100 * sums[value].drawn / most))
        for value in sorted(sums, key=lambda value: value.order)
    ]


def _power(exponent: int) -> str:
    return written(2**exponent) if exponent >= 0 else f"1/{2**-exponent}"
