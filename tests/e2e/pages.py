"""The documentation's blocks of code, for tests that run them as they stand."""

import re
from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of ``language``; those without a language for the empty string."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for one, text in found if one == language]
