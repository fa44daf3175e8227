"""Offers: what a device is shown of rounds with private constraints, for only it can judge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core import knobs
from gateway.events import Offered
from gateway.metrics import BINDS
from gateway.registry import Listener
from propius import wire
from scheduling import binding


@dataclass(slots=True)
class Ask:
    """One device that wants a round; ``choice`` is its answer to an offer."""

    one: Listener
    tried: int
    choice: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    assignment_id: str = ""


async def show(
    offered: Sequence[tuple[Ask, binding.Offered]], scripts: binding.Binder
) -> list[Ask]:
    """Show devices the rounds that they were found; return those whose rounds have all closed."""
    wanted = {round_id for _, answer in offered for round_id in answer.round_ids}
    known = await scripts.round_info(wanted)
    closed = []
    for ask, answer in offered:
        candidates = [
            _candidate(known[round_id]) for round_id in answer.round_ids if round_id in known
        ]
        if not candidates:
            closed.append(ask)
            continue
        offer = wire.Offer(
            offer=ask.assignment_id, candidates=candidates, answer_s=knobs.get().offer_s
        )
        BINDS.labels("offered").inc()
        ask.one.feed(Offered(offer))
    return closed


def _candidate(info: binding.RoundInfo) -> wire.Candidate:
    return wire.Candidate(
        round=info.round_id,
        job=info.job_id,
        tenant=info.tenant,
        kind=info.kind,
        workload=dict(info.workload),
        constraints=dict(info.private),
    )
