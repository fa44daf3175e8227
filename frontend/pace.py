"""When a job likely ends, by the pace of its last rounds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from frontend import words

ROUNDS = 10
LEAST = 3
LATE = 5
"""A round that takes so many times as long as the last ones did makes their pace tell nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """When it likely ends, if that can be told, and by what or why not."""

    at: datetime | None
    text: str


def estimate(
    finished: Sequence[datetime], *, left: int, is_running: bool, now: datetime
) -> Estimate:
    """Estimate when ``left`` more rounds will have ended.

    Parameters
    ----------
    finished
        When the last rounds ended, oldest first; the newest ``ROUNDS`` count.
    """
    last = finished[-ROUNDS:]
    if not is_running:
        return Estimate(None, "")
    if len(last) < LEAST:
        text = f"Its end cannot be told yet: {words.count(LEAST, 'round')} have to be done first."
        return Estimate(None, text)
    each = max((last[-1] - last[0]) / (len(last) - 1), timedelta(seconds=0.1))
    late = max(timedelta(), now - last[-1] - each)
    if late > LATE * each:
        text = "Its end cannot be told now: this round takes much longer than the last ones did."
        return Estimate(None, text)
    # By the minute, so that the page is not another one at each look.
    behind = timedelta(minutes=math.ceil(late / timedelta(minutes=1)))
    at = last[-1] + left * each + behind
    return Estimate(at, f"by the pace of its last {words.count(len(last), 'round')}")
