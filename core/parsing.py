"""Read JSON requests so that whatever comes out of them can be stored and shown again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from rest_framework.parsers import JSONParser

from core.errors import Invalid, TooLarge

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
TOO_DEEP = f"the JSON is nested deeper than {MAX_DEPTH}"


class StrictJson(JSONParser):
    """UTF-8 JSON of at most :data:`MAX_BYTES`, without what Postgres or UTF-8 cannot hold."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value. Raises TooLarge, Invalid."""
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise TooLarge(f"the body is longer than {MAX_BYTES} bytes")
        return loads(body)


def loads(body: bytes) -> Any:
    """Parse JSON. Raises Invalid for bad JSON, deep nesting and values that cannot be stored."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise Invalid(TOO_DEEP) from None
    except ValueError as error:
        raise Invalid(f"the body is not JSON in UTF-8: {error}") from None
    check(value)
    return value


def check(value: Any) -> None:
    """Raise Invalid for deep nesting and values that cannot be stored."""
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                deeper += [*one, *one.values()]
            elif isinstance(one, list):
                deeper += one
            elif isinstance(one, str):
                _check_text(one)
            elif isinstance(one, int | float):
                _check_number(one)
        if not deeper:
            return
        level = deeper
    raise Invalid(TOO_DEEP)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        if "\0" not in text:
            return
    shown = text[:40].encode("unicode_escape").decode()
    raise Invalid(f"the text '{shown}' holds a NUL or half of a surrogate pair")


def _check_number(number: float) -> None:
    try:
        fits = math.isfinite(number)
    except OverflowError:
        fits = False
    if not fits:
        raise Invalid("a number is beyond 1.8e308; finite numbers are allowed")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
