"""docs/security.md names tests that are there."""

import re
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]


def test_each_test_that_the_page_names_is_there() -> None:
    page = (BASE_DIR / "docs" / "security.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", page)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (BASE_DIR / file).read_text()
    ]
    assert missing == []
    assert len(named) > 30
