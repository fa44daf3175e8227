"""The Lua scripts, each with the definitions they share in front."""

from __future__ import annotations

import functools
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


@functools.cache
def text(name: str) -> str:
    """Return the source of script ``name``."""
    return (_FOLDER / "rounds.lua").read_text() + (_FOLDER / f"{name}.lua").read_text()
