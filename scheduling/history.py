"""What jobs and tenants have had so far, for policies: response times and device-seconds.

It changes slowly. So it is read at most every some seconds, for some jobs at a time, and kept in
the planner's process; safe to lose.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from jobs import usage
from scheduling import learning
from scheduling.learning import Learnt

HALF_LIFE_S = 86_400.0
"""What a tenant has had counts half as much a day later."""
PAST_FOR = timedelta(seconds=15)
USED_FOR = timedelta(seconds=60)
AT_ONCE = 100


@dataclass(slots=True)
class History:
    """The past of open jobs and of their tenants, each as of when it was last read."""

    _jobs: dict[UUID, tuple[datetime, Learnt]] = field(default_factory=dict)
    _used: dict[UUID, float] = field(default_factory=dict)
    _used_at: datetime | None = None

    def jobs(self, job_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, Learnt]:
        """Return the past of jobs; of at most ``AT_ONCE`` it is read anew, the oldest first."""
        wanted = set(job_ids)
        self._jobs = {one: known for one, known in self._jobs.items() if one in wanted}
        old = [
            one
            for one in wanted
            if one not in self._jobs or abs(now - self._jobs[one][0]) >= PAST_FOR
        ]
        old.sort(key=lambda one: self._jobs[one][0].timestamp() if one in self._jobs else 0.0)
        if old:
            read = learning.read(old[:AT_ONCE])
            self._jobs |= {one: (now, read.get(one, Learnt())) for one in old[:AT_ONCE]}
        return {one: past for one, (_, past) in self._jobs.items()}

    def used_s(self, tenant_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, float]:
        """Return the device-seconds that tenants have had, halved for every day since."""
        wanted = set(tenant_ids)
        fresh = self._used_at is not None and abs(now - self._used_at) < USED_FOR
        if not (fresh and wanted <= self._used.keys()):
            found = usage.decayed_device_seconds(wanted, half_life_s=HALF_LIFE_S, now=now)
            self._used = dict.fromkeys(wanted, 0.0) | found
            self._used_at = now
        return self._used


@functools.cache
def known() -> History:
    """Return this process's history."""
    return History()
