"""The one line of JSON that every benchmark ends with."""

from __future__ import annotations

import json
import operator
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_MEETS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


def line(
    benchmark: str, figures: Mapping[str, Any], targets: Mapping[str, tuple[str, float]]
) -> str:
    """Return the result as JSON; a target is a figure's bound, as in ``("<=", 5.0)``."""
    ask = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    met = {name: _MEETS[sign](figures[name], bound) for name, (sign, bound) in targets.items()}
    return json.dumps(
        {
            "benchmark": benchmark,
            "figures": dict(figures),
            "targets": {name: f"{sign} {bound:g}" for name, (sign, bound) in targets.items()},
            "missed": [name for name, is_met in met.items() if not is_met],
            "met": all(met.values()),
            "commit": commit.strip(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()},
        }
    )
