"""Tables of strings as TOML: the files that commands write for their user."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping

from propius.cli.words import UsageError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def encode(tables: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return the tables as a file that reads as just these.

    Raises
    ------
    UsageError
        TOML has no form for one of the texts: half a character, as of a name that is no UTF-8.
    """
    sections = [
        "\n".join([f"[{_string(name)}]", *(f"{_key(k)} = {_string(v)}" for k, v in table.items())])
        for name, table in tables.items()
    ]
    text = "\n\n".join(sections) + "\n"
    try:
        content = text.encode()
        faithful = tomllib.loads(text) == tables
    except ValueError as error:
        raise UsageError(f"this cannot be written as TOML: {error}") from error
    if not faithful:
        raise UsageError("this cannot be written as TOML: it would read otherwise")
    return content


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    # Quoted as in JSON, but for two: TOML has no surrogate pairs, and wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
