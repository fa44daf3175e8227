"""What the operator holds back stays so, and no round fails for it."""

from __future__ import annotations

from datetime import datetime

from jobs.services import maintenance, quarantines


def uphold(*, now: datetime) -> None:
    """Keep what is in force: before each sweep, so that no round fails for want of devices."""
    maintenance.keep(now=now)
    quarantines.keep(now=now)
