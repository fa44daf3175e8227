"""What a spreadsheet would run, marked as text."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(value: object) -> object:
    """Return a cell of a CSV; a name that a spreadsheet would run as a formula begins with ``'``.

    >>> plain("=1+1"), plain("loss"), plain(-1.5)
    ("'=1+1", 'loss', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
