"""The kinds of events that a job has, for those who ask for some of them only."""

from __future__ import annotations

KINDS = (
    *(
        f"job.{what}"
        for what in (
            "submitted", "admitted", "queued", "demand_granted", "paused", "resumed",
            "quarantined", "released", "completed", "failed", "cancelled", "rejected", "expired",
        )
    ),
    *(
        f"round.{what}"
        for what in (
            "opened", "executing", "aggregating", "extended", "outliers", "leaf_lost",
            "updates_set_aside", "partial_folded_again", "completed", "failed", "abandoned",
        )
    ),
    *(f"assignment.{what}" for what in ("declined", "failed", "expired", "cancelled")),
)  # fmt: skip
"""A test holds them to what is appended."""
