"""Names of the scheduler's keys in Redis; the scripts take the prefix and use the same names.

All begin with ``{p}:``, so that they share one hash slot. Everything here is soft state: the
planner rebuilds it from rows whenever the epoch is gone.
"""

from __future__ import annotations

from uuid import UUID

from core import connections

P = connections.PREFIX

EPOCH = P + "epoch"
"""Random text; without it nothing binds. ``FLUSHALL`` removes it with all the rest."""
PLAN = P + "plan"
"""Hash: version, groups (their version), shuffled, merged, message (what gateways were told)."""
PLAN_CHANNEL = P + "plan"
GROUPS = P + "groups"
"""JSON: version and all constraint groups of unfinished jobs."""
TIERS = P + "tiers"
"""JSON: how many speed tiers are told apart, and the boundaries between them."""
WANTED = P + "wanted"
"""Set of signatures that came and were in no plan."""
COUNTERS = P + "counters"
"""Hash of running totals: granted, plans."""
PROFILES = P + "profiles"
"""Hash: profile key → its JSON."""
PROFILES_SEEN = P + "profiles:seen"
"""Sorted set: profile key → when it was last registered."""
GATEWAYS = P + "heartbeats"
"""Sorted set: gateway id → its last heartbeat; the hash beside it ends by itself."""
QUEUED = P + "admission:looked"
"""There for some seconds after all queued jobs were looked at."""
RECORDED = P + "recorded"
"""There for some seconds after a plan was recorded."""
LEARNT = P + "learnt"
"""Up to when rounds that closed have been learnt from."""
LEARNING = P + "learning"
"""There while a sweep learns."""
SWEEP = P + "sweep"
"""When the sweep last ran; it is missing after an outage of Redis."""


def gateway(gateway_id: str) -> str:
    """Return the key of one gateway's heartbeat."""
    return f"{P}gateway:{gateway_id}"


def preview(preview_id: UUID) -> str:
    """Return the key of a preview that was asked for, and of its answer."""
    return f"{P}preview:{preview_id}"


def learnt(job_id: UUID) -> str:
    """Return the key of what a job's closed rounds have taken."""
    return f"{P}learnt:{job_id}"


def refusal_codes(job_id: str) -> str:
    """Return the key of the codes with which devices refused a job of late."""
    return f"{P}refusals:{job_id}"


def refusals(job_id: str, code: str, number: int) -> str:
    """Return the key of who refused a job with a code, in one half-hour since 1970."""
    return f"{P}refusals:{job_id}:{code}:{number}"


def supply(unit: str, number: int) -> str:
    """Return the key of check-ins by profile in one ``minute`` or ``hour`` since 1970."""
    return f"{P}supply:{unit}:{number}"
