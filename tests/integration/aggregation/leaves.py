"""A leaf as the root sees it, and devices' tickets for it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np

from aggregation import blobs, leaves, partials
from aggregation.models import Leaf
from clients.models import Pool
from propius import arrays
from tenants.scopes import system_scope
from tests.integration.factories import NOW


def make(name: str = "attic", *pools: Pool) -> tuple[Leaf, str]:
    """A leaf that has just been heard, and its token."""
    with system_scope():
        leaf, token = leaves.create_leaf(
            name=name, url=f"http://{name}:9", pools=pools, actor="test", now=NOW
        )
        leaves.beat(leaf=leaf, load={}, round_ids=[], now=NOW)
        leaf.refresh_from_db()
    return leaf, token


def report(assignment_id: UUID, weight: float = 1.0, **metrics: float) -> leaves.Report:
    return leaves.Report(
        assignment_id=assignment_id, digest=f"{assignment_id.int % 16**12:064x}", size_bytes=100,
        weight=weight, metrics=metrics,
    )  # fmt: skip


def hold(leaf: Leaf, round_id: Any, *ids: UUID, now: Any = NOW, **how: Any) -> leaves.Holding:
    with system_scope():
        reports = [report(one, **how) for one in ids]
        return leaves.hold(leaf=leaf, round_id=round_id, reports=reports, now=now)


def store(value: float) -> str:
    """Put a sum of 2 × 2 into the store; returns its digest."""
    with blobs.store().writer() as writer:
        writer.write(arrays.save({"weight": np.full((2, 2), value, np.float32)}))
        return writer.commit()


def commit(leaf: Leaf, round_id: Any, value: float, *batches: list[UUID], now: Any = NOW) -> int:
    digest = store(value)
    with system_scope():
        partials.check(round_id=round_id, digest=digest)
        return partials.commit(
            leaf=leaf, round_id=round_id, digest=digest, size_bytes=200, batches=batches, now=now
        )
