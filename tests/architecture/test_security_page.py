"""docs/security.md has for each threat a defence, and names tests that are there."""

import re
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(tests/[\w/.]+)::(\w+)`")
NAMES = ["threat", "defence", "shown by"]


def rows(page: str) -> list[list[str]]:
    """Return the cells of each row of the page's tables, their heads left out."""
    lines = [one for one in page.splitlines() if one.startswith("|")]
    cells = [[cell.strip() for cell in one.strip("|").split("|")] for one in lines]
    return [one for one in cells if one != NAMES and set("".join(one)) != {"-"}]


def faults(row: list[str]) -> list[str]:
    """Say what a row lacks."""
    if len(row) != len(NAMES):
        return [f"{len(row)} cells: {row}"]
    threat, defence, shown = row
    # What stands in italics is what is not defended yet.
    words = re.sub(r"(?<!\w)\*[^*]+\*(?!\w)", "", defence).strip()
    missing = [
        f"{threat}: there is no {file}::{name}"
        for file, name in TEST.findall(shown)
        if not (BASE_DIR / file).is_file() or f"def {name}(" not in (BASE_DIR / file).read_text()
    ]
    missing += [] if TEST.search(shown) else [f"{threat}: no test shows it"]
    return missing + ([] if words else [f"{threat}: no defence"])


def test_each_threat_has_a_defence_and_a_test_that_is_there() -> None:
    found = rows((BASE_DIR / "docs" / "security.md").read_text())
    assert [fault for row in found for fault in faults(row)] == []
    assert len(found) > 25


def test_each_test_named_outside_the_tables_is_there_too() -> None:
    page = (BASE_DIR / "docs" / "security.md").read_text()
    missing = [
        f"{file}::{name}"
        for file, name in TEST.findall(page)
        if f"def {name}(" not in (BASE_DIR / file).read_text()
    ]
    assert missing == []


def test_a_row_that_lacks_something_is_told() -> None:
    real = "`tests/architecture/test_security_page.py::test_a_row_that_lacks_something_is_told`"
    assert faults(["a thief", "a lock", real]) == []
    assert faults(["a thief", "", real]) == ["a thief: no defence"]
    assert faults(["a thief", "*Nothing yet.*", real]) == ["a thief: no defence"]
    assert faults(["a thief", "a lock", ""]) == ["a thief: no test shows it"]
    assert faults(["a thief", "a lock", "`tests/none.py::test_x`"]) != []
    assert faults(["a thief", "a lock"]) != []
