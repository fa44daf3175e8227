"""The eligibility explorer: a typed constraint, how many devices meet it, and what narrows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from clients import selectors as client_selectors
from clients.models import AttributeDefinition, Pool
from clients.telling import Told
from core.errors import PropiusError
from frontend import terms
from scheduling import eligibility


@dataclass(frozen=True, slots=True)
class Fault:
    """What cannot be read or asked; ``before`` and ``at`` are the text up to it and from there."""

    message: str
    column: int | None = None
    before: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A term and the devices that it and those before it leave, of ``out_of`` before."""

    text: str
    left: Told
    out_of: Told
    percent: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the page shows: the counts, or a fault."""

    asked: str
    chosen: Sequence[str]
    fault: Fault | None = None
    counts: eligibility.Narrowing | None = None
    known: Told = field(default_factory=Told)
    percent: int = 0
    steps: Sequence[Step] = ()
    public: dict[str, Any] | None = None

    @property
    def written(self) -> str:
        """The constraint as a job file has it."""
        return json.dumps({"constraints": {"public": self.public}}, indent=2, ensure_ascii=False)

    @property
    def told(self) -> str:
        """The counts in a sentence."""
        if self.counts is None:
            return ""
        return f"{self.known.text} of {self.counts.devices.text} known devices fit."

    @property
    def fault_text(self) -> str:
        """What cannot be read, in a sentence."""
        if self.fault is None:
            return ""
        where = f" (column {self.fault.column})" if self.fault.column else ""
        return f"{self.fault.message[:1].upper()}{self.fault.message[1:]}{where}."


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be asked of whom."""

    attributes: list[AttributeDefinition]
    pools: list[Pool]


def choices(*, tenant_id: UUID) -> Choices:
    """Return the attributes that constraints may name, and the pools that a tenant may use."""
    attributes = list(AttributeDefinition.objects.order_by("name"))
    return Choices(attributes, client_selectors.pools_for(tenant_id))


def find(*, tenant_id: UUID, asked: str, pools: Sequence[str], now: datetime) -> Found:
    """Count the devices that meet what is asked; what is wrong with it is part of the answer."""
    asked = asked[: terms.MAX_CHARACTERS + 1]
    read: list[terms.Term] = []
    try:
        read = terms.parse(asked)
        public = terms.public(read)
        counts = eligibility.narrowing(
            tenant_id=tenant_id,
            public=public,
            terms=[{one.name: one.condition} for one in read],
            pools=list(pools),
            now=now,
        )
    except terms.TermsUnread as error:
        return Found(asked, pools, _fault(asked, str(error), error.column))
    except PropiusError as error:
        name, message = next(iter((error.errors or {"": error.detail}).items()))
        return Found(asked, pools, _fault(asked, message, terms.place_of(name, read)))
    return Found(
        asked,
        pools,
        counts=counts,
        known=counts.left[-1] if counts.left else counts.devices,
        percent=_percent(counts.left[-1], counts.devices) if counts.left else 100,
        steps=_steps(read, counts),
        public=public,
    )


def _steps(read: Sequence[terms.Term], counts: eligibility.Narrowing) -> list[Step]:
    before = [counts.devices, *counts.left]
    return [
        Step(one.text, left, out_of, _percent(left, counts.devices))
        for one, left, out_of in zip(read, counts.left, before, strict=False)
    ]


def _percent(part: Told, whole: Told) -> int:
    return round(100 * part.drawn / whole.drawn) if whole.drawn else 0


def _fault(asked: str, message: str, column: int | None) -> Fault:
    if column is None:
        return Fault(message)
    return Fault(message, column, asked[: column - 1], asked[column - 1 :])
