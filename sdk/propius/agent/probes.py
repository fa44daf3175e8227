"""Limits how much a tenant can learn of a device's private values by asking again and again.

Each answer to a private condition tells whether it holds: enough conditions would find the value
by halving. So distinct ones are counted, for each job and for each tenant, on this device.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from propius import constraints, wire
from propius.agent.history import History
from propius.constraints import Constraint
from propius.needs import ArrayNeed

log = logging.getLogger(__name__)
TENANT_MEMORY_S = 30 * 86_400.0


class ProbeLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many distinct private conditions are answered; a tenant's count forgets after 30 days."""

    per_job: int = 4
    per_tenant: int = 64

    def words(self) -> str:
        """Say the limits in words."""
        return (
            f"at most {self.per_job} private conditions are answered for a job, "
            f"{self.per_tenant} for a tenant in 30 days"
        )


@dataclass(frozen=True, slots=True)
class Probes:
    """Counts in the device's history, so that a restart forgets nothing."""

    history: History
    limits: ProbeLimits

    def allows(
        self,
        asked: wire.Assignment | wire.Candidate,
        conditions: Constraint,
        needs: Mapping[str, ArrayNeed],
    ) -> bool:
        """Tell whether this may be answered; what asks for nothing private always may."""
        classes = {name: one.classes for name, one in needs.items() if one.classes is not None}
        if not conditions and not classes:
            return True
        asks = [asked.workload.get("dataset"), constraints.as_json(conditions), classes]
        digest = hashlib.sha256(msgspec.json.encode(asks, order="sorted")).hexdigest()
        now = time.time()
        try:
            return self.history.try_threshold(
                asked.tenant,
                asked.job,
                digest,
                per_job=self.limits.per_job,
                per_tenant=self.limits.per_tenant,
                since=now - TENANT_MEMORY_S,
                now=now,
            )
        except (sqlite3.Error, OSError) as error:
            # What cannot be counted is not answered.
            log.warning("history.unwritable %s", error)
            return False
