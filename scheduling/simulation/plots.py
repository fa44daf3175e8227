"""Plots of a sweep as SVG: bars with 95 % intervals, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, BAR, GAP, LEFT, RIGHT = 720, 22, 10, 130, 110
SHOWN = (
    ("mean_completion_time_s", "Mean completion time, s"),
    ("mean_scheduling_delay_s", "Mean scheduling delay, s"),
    ("utilisation", "Utilisation: busy ÷ available device-seconds"),
)
STYLE = (
    "text{font:13px sans-serif;fill:currentColor}.t{font-weight:bold}"
    ".b{fill:#4c78a8}.i{stroke:currentColor;stroke-width:1.5}"
)


def svg(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one SVG with a bar a policy for each of the columns of ``SHOWN``.

    ``rows`` are a sweep's; a value that is not known has no bar.
    """
    parts, top = [], 0
    for column, title in SHOWN:
        parts.append(f'<text class="t" x="0" y="{top + 16}">{escape(title)}</text>')
        top += 28
        for row in rows:
            parts.append(_bar(row, column, top, _most(rows, column)))
            top += BAR + GAP
        top += 14
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _bar(row: Mapping[str, Any], column: str, top: int, most: float) -> str:
    middle, value, half = top + BAR / 2, row[column], row[f"{column}_ci95"]
    name = f'<text x="0" y="{middle + 5:g}">{escape(str(row["policy"]))}</text>'
    if math.isnan(value):
        return f'{name}<text x="{LEFT}" y="{middle + 5:g}">unknown</text>'
    scale = (WIDTH - LEFT - RIGHT) / most if most > 0 else 0.0
    end = LEFT + value * scale
    bar = f'<rect class="b" x="{LEFT}" y="{top}" width="{value * scale:.1f}" height="{BAR}"/>'
    if math.isnan(half):
        return f'{name}{bar}<text x="{end + 6:.1f}" y="{middle + 5:g}">{value:,.4g}</text>'
    low, high = max(LEFT, end - half * scale), end + half * scale
    line = f'<path class="i" d="M{low:.1f} {middle:g}H{high:.1f}"/>'
    return f'{name}{bar}{line}<text x="{high + 6:.1f}" y="{middle + 5:g}">{value:,.4g}</text>'


def _most(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    halves = [0.0 if math.isnan(half := row[f"{column}_ci95"]) else half for row in rows]
    ends = [row[column] + half for row, half in zip(rows, halves, strict=True)]
    return max((end for end in ends if not math.isnan(end)), default=0.0)
