"""Write docs/benchmarks.md from the benchmarks' lines of JSON.

    .venv/bin/python -m benchmarks.bind | tail -1 >> results.jsonl
    .venv/bin/python -m benchmarks.report results.jsonl

Of each benchmark the newest line counts; it is kept in docs/benchmarks/NAME.json, so that running
one of them leaves the others' tables as they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = """# Benchmarks

Made by `python -m benchmarks.report` from the JSON that each benchmark ends with; do not edit.
How each is measured stands at the top of its file in `benchmarks/`;
`make bench NAME=bind` runs one.

The machines are shared, and one day's may be half as fast as another's: on 30 November 2026 commit
c9933b4 took 0.36 s for `round`'s `2x1`, and 0.18 s some days before; a call of `api` that does next
to nothing (`tokens`) took 17 to 21 ms, and 8. Ratios hold (`bare_s`, shares, `flat`); times of
different commits do not compare.
"""


def page(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the page, a table for each result."""
    parts = [HEAD]
    for one in sorted(results, key=lambda found: str(found["benchmark"])):
        parts += [f"\n## {one['benchmark']}\n", _where(one), "\n"]
        parts += ["| figure | measured | target |", "|---|---|---|"]
        targets = one["targets"]
        named = [*targets, *(name for name in one["figures"] if name not in targets)]
        for name in named:
            target = targets.get(name, "")
            if target and name in one.get("missed", ()):
                target = f"{target}: missed"
            parts.append(f"| `{name}` | {_shown(one['figures'][name])} | {target} |")
    return "\n".join(parts) + "\n"


def _where(one: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    return f"Commit {one['commit']}; {one['machine']}; {versions}."


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value}"


def main(paths: Sequence[str]) -> None:
    """Keep the newest line of each benchmark, and write the page of all that are kept."""
    kept = DOCS / "benchmarks"
    kept.mkdir(exist_ok=True)
    for path in paths:
        for line in Path(path).read_text().splitlines():
            if line.startswith("{"):
                found = json.loads(line)
                text = json.dumps(found, indent=2) + "\n"
                (kept / f"{found['benchmark']}.json").write_text(text)
    results = [json.loads(file.read_text()) for file in kept.glob("*.json")]
    (DOCS / "benchmarks.md").write_text(page(results))


if __name__ == "__main__":
    main(sys.argv[1:])
