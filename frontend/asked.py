"""What the reader of a job's page asked to see, from its address, and addresses that ask for more.

Pure. All of it is in the address, so that a view can be sent to somebody and needs no script.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import parse_qs, urlencode
from uuid import UUID

LONGEST = 1000
"""An address's query is cut here."""
COMPARED_MAX = 5
PANELS_MAX = 4
NAME_MAX = 100
ROUND, TIME = "round", "time"
LOGS = ("rounds", "devices", "problems")
"""Parts of a job's log that may be asked for."""
HIGHEST, LOWEST = "highest", "lowest"


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of the query that a job's page knows; whatever else is in it is left out."""

    metrics: tuple[str, ...] = ()
    by: str = ROUND
    compare: tuple[str, ...] = ()
    best: str = ""
    order: str = ""
    rounds: int = 1
    versions: int = 1
    before: int | None = None
    log: str = ""

    @classmethod
    def read(cls, query: str) -> Self:
        """Read a query; what it does not say, or says wrongly, is as at first."""
        found = parse_qs(query[:LONGEST])
        by, order = _last(found, "by"), _last(found, "order")
        return cls(
            metrics=_names(found.get("metric", ()), PANELS_MAX),
            by=TIME if by == TIME else ROUND,
            # One more, so that it can be told that there were too many.
            compare=_names(map(_id, found.get("compare", ())), COMPARED_MAX + 1),
            best=_name(_last(found, "best")),
            order=order if order in (HIGHEST, LOWEST) else "",
            rounds=max(1, _number(_last(found, "rounds")) or 1),
            versions=max(1, _number(_last(found, "versions")) or 1),
            before=_number(_last(found, "before")),
            log=log if (log := _last(found, "log")) in LOGS else "",
        )

    def fields(self) -> list[tuple[str, str]]:
        """Return it as fields of a form."""
        one = (
            ("by", self.by if self.by != ROUND else ""),
            ("best", self.best),
            ("order", self.order),
            ("rounds", str(self.rounds) if self.rounds > 1 else ""),
            ("versions", str(self.versions) if self.versions > 1 else ""),
            ("log", self.log),
            ("before", "" if self.before is None else str(self.before)),
        )
        many = [("metric", name) for name in self.metrics]
        many += [("compare", name) for name in self.compare]
        return many + [(name, text) for name, text in one if text]

    @property
    def query(self) -> str:
        """The query that asks for this, in one spelling."""
        return urlencode(self.fields())

    def link(self, **changes: Any) -> str:
        """Return an address, relative to the page's, that asks for this with some changes."""
        return f"?{replace(self, **changes).query}"

    def toggled(self, name: str, shown: Iterable[str]) -> str:
        """Return the address that shows one metric more, or one less, than are ``shown``."""
        others = tuple(one for one in shown if one != name)
        chosen = others if name in tuple(shown) else (*others, name)[-PANELS_MAX:]
        return self.link(metrics=chosen)


def _names(given: Iterable[str], most: int) -> tuple[str, ...]:
    found = dict.fromkeys(_name(one) for one in given)
    return tuple(one for one in found if one)[:most]


def _name(text: str) -> str:
    """Return what may be a name: Postgres holds no NUL."""
    return text.replace("\0", "").strip()[:NAME_MAX]


def _number(text: str) -> int | None:
    return int(text[:18]) if text.isascii() and text.isdecimal() else None


def _id(text: str) -> str:
    """Return an id in its one spelling; what is none stays as it is."""
    try:
        return str(UUID(text))
    except ValueError:
        return text


def _last(found: dict[str, list[str]], name: str) -> str:
    return found.get(name, [""])[-1]
