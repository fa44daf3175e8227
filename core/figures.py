"""Counts as they are written in sentences and tables."""

from __future__ import annotations


def figure(number: int) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def count(number: int, noun: str) -> str:
    """Return ``1 round``, ``2 rounds``."""
    return f"{figure(number)} {noun}{'' if number == 1 else 's'}"
