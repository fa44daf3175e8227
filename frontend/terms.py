"""Public constraints as people type them: ``memory_mb >= 4096 and os in linux, android``. Pure.

A line is read into terms, each with its place, so that a fault can be pointed at and counts be
told term by term. What a job file has, an object in JSON, is read as well.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import parsing
from core.errors import Invalid

MAX_CHARACTERS = 2_000
_TOKEN = re.compile(r'\s*(?:(?P<sign>>=|<=|==|[=<>,])|"(?P<quoted>[^"]*)"|(?P<word>[^\s"=<>,]+))')
_ALLOWED = "allowed are >=, <=, = and in"


class TermsUnread(ValueError):
    """A constraint that cannot be read: ``column``, from 1, is where, the text says why."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Term:
    """What is asked of one attribute; ``column``, from 1, is where it begins."""

    column: int
    text: str
    name: str
    condition: Any


@dataclass(frozen=True, slots=True)
class _Token:
    column: int
    end: int
    kind: str
    text: str

    @property
    def is_and(self) -> bool:
        return self.kind == "word" and self.text.lower() in ("and", "&&")


def parse(text: str) -> list[Term]:
    """Read terms joined by ``and``, or an object in JSON as a job file has it.

    >>> [(one.name, one.condition) for one in parse("cpu_score >= 2 and os in linux, ios")]
    [('cpu_score', {'min': 2.0}), ('os', {'in': ['linux', 'ios']})]

    Raises
    ------
    TermsUnread
        With the column and what is allowed there.
    """
    if len(text) > MAX_CHARACTERS:
        raise TermsUnread(MAX_CHARACTERS, f"{len(text)} characters; at most {MAX_CHARACTERS}")
    if text.lstrip().startswith("{"):
        return _of_json(text)
    tokens = _tokens(text)
    terms: list[Term] = []
    while tokens:
        ends = [at for at, one in enumerate(tokens) if one.is_and]
        end = ends[0] if ends else len(tokens)
        if end == 0 or end == len(tokens) - 1:
            raise TermsUnread(tokens[end].column, "a term is missing beside “and”")
        terms.append(_term(text, tokens[:end]))
        tokens = tokens[end + 1 :]
    return terms


def public(terms: Sequence[Term]) -> dict[str, Any]:
    """Return terms as a job file's ``constraints.public``: a minimum and a maximum are one.

    Raises
    ------
    TermsUnread
        Two terms ask the same of one attribute.
    """
    found: dict[str, Any] = {}
    for one in terms:
        before = found.get(one.name)
        if before is None:
            found[one.name] = one.condition
        elif not _are_bounds(before, one.condition) or before.keys() & one.condition.keys():
            raise TermsUnread(
                one.column, f"{one.name} is asked for twice; one >= and one <= may stand together"
            )
        else:
            found[one.name] = {**before, **one.condition}
    return found


def place_of(field: str, terms: Sequence[Term]) -> int | None:
    """Return the column of the last term about the attribute of ``constraints.public.<name>``."""
    name = field.removeprefix("constraints.public.")
    return next((one.column for one in reversed(terms) if one.name == name), None)


def _are_bounds(*conditions: Any) -> bool:
    return all(isinstance(one, Mapping) and one.keys() <= {"min", "max"} for one in conditions)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise TermsUnread(text.index('"', at) + 1, "a quotation mark is not closed")
        kind = str(found.lastgroup)
        begin = found.start(kind) - (kind == "quoted")
        tokens.append(_Token(begin + 1, found.end(), kind, found[kind]))
        at = found.end()
    return tokens


def _term(text: str, tokens: Sequence[_Token]) -> Term:
    name, rest = tokens[0], tokens[1:]
    if name.kind != "word":
        raise TermsUnread(name.column, f"{name.text!r} is no attribute's name")
    if not rest:
        raise TermsUnread(name.end + 1, f"what of {name.text}? {_ALLOWED}")
    sign, values = rest[0], rest[1:]
    if not values:
        raise TermsUnread(sign.end + 1, f"a value is missing after “{sign.text}”")
    written = text[name.column - 1 : tokens[-1].end]
    return Term(name.column, written, name.text, _condition(sign, values))


def _condition(sign: _Token, values: Sequence[_Token]) -> dict[str, Any]:
    if sign.kind == "word" and sign.text.lower() == "in":
        return {"in": _listed(values)}
    if sign.text not in (">=", "<=", "=", "=="):
        hint = f"{sign.text} is not there, bounds are inclusive; " if sign.text in "<>" else ""
        raise TermsUnread(sign.column, hint + f"after the name, {_ALLOWED}")
    if len(values) > 1:
        raise TermsUnread(values[1].column, "one value is allowed here; join terms by “and”")
    if values[0].kind == "sign":
        raise TermsUnread(values[0].column, f"{values[0].text!r} is no value")
    value = _value(values[0])
    if sign.text in ("=", "=="):
        return {"in": [value]}
    if isinstance(value, bool) or not isinstance(value, float):
        raise TermsUnread(values[0].column, f"{sign.text} takes a number, not {value!r}")
    return {"min" if sign.text == ">=" else "max": value}


def _listed(values: Sequence[_Token]) -> list[Any]:
    for at, one in enumerate(values):
        is_comma = one.kind == "sign" and one.text == ","
        if is_comma != bool(at % 2) or (is_comma and at == len(values) - 1):
            raise TermsUnread(one.column, "after in, values with commas between them are allowed")
    return [_value(one) for one in values[::2]]


def _value(token: _Token) -> Any:
    if token.kind == "quoted":
        return token.text
    if token.text in ("true", "false"):
        return token.text == "true"
    try:
        number = float(token.text)
    except ValueError:
        return token.text
    if not math.isfinite(number):
        raise TermsUnread(token.column, f"{token.text} is not a finite number")
    return number


def _of_json(text: str) -> list[Term]:
    try:
        raw = json.loads(text)
        parsing.check(raw)
    except json.JSONDecodeError as error:
        raise TermsUnread(error.pos + 1, f"as JSON: {error.msg}") from error
    except RecursionError as error:
        raise TermsUnread(1, "as JSON: nested too deep") from error
    except Invalid as error:
        raise TermsUnread(1, f"as JSON: {error.detail}") from error
    terms = []
    for name, condition in raw.items():
        found = re.search(re.escape(json.dumps(name)), text)
        column = found.start() + 1 if found else 1
        shown = f"{json.dumps(name)}: {json.dumps(condition)}"
        terms.append(Term(column, shown, name, condition))
    return sorted(terms, key=lambda one: one.column)
