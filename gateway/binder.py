"""The micro-batched binder: script, batched commit, and only then the devices hear."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import redis.exceptions
from django.utils import timezone

import jobs.selectors
import jobs.services
from core import hints, knobs
from core.errors import PropiusError
from core.ids import uuid7
from gateway import offers
from gateway.details import Details, of_held
from gateway.events import Bound, NothingToBind
from gateway.idle import UNTRIED
from gateway.leases import Leases
from gateway.leaves import Leaves
from gateway.metrics import BINDS
from gateway.moves import Batch, Moves
from gateway.offers import Ask
from gateway.signing import Signer
from gateway.threads import DatabaseAway, Threads
from propius import wire
from scheduling import binding

logger = logging.getLogger(__name__)

STALE_TRIES = 3
CROWD = 16
"""After so many at once more are on their way: worth a wait, which a lone device is spared."""
COMMIT_PATIENCE_S = 10.0
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
REDIS_AWAY = (redis.exceptions.RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the script gave, not yet a row."""

    ask: Ask
    round_id: str
    plan_version: int


class Binder:
    """Collects what devices ask for, and answers in batches."""

    def __init__(
        self, scripts: binding.Binder, signer: Signer, threads: Threads, leases: Leases
    ) -> None:
        self.scripts = scripts
        self._signer = signer
        self._threads = threads
        self._asks: list[Ask] = []
        self._wake = asyncio.Event()
        self.moves = Moves(leases, self._wake.set)
        self._details = Details()
        self.leaves = Leaves()
        self._failures = 0
        self._hinting: asyncio.Task[None] | None = None

    def ask(self, ask: Ask) -> None:
        """Take an ask; the answer is an event to its connection."""
        self._asks.append(ask)
        self._wake.set()

    async def run(self) -> None:
        """Bind for as long as the process lives."""
        crowded = False
        while True:
            await self._wake.wait()
            if crowded and len(self._asks) < knobs.get().bind_batch:
                await asyncio.sleep(knobs.get().bind_delay_s)
            asks, self._asks = self._split()
            crowded = len(asks) >= CROWD
            if not self._asks:
                self._wake.clear()
            try:
                await self.bind(asks)
            except REDIS_AWAY as error:
                await self._step_back(asks, error)
            except Exception:
                # The edge: whatever one batch met, its devices and the next batch go on.
                logger.exception("gateway.bind_failed")
                self._nothing(asks, retry=True)
                await asyncio.sleep(BACK_OFF_S[-1])
            else:
                self._failures = 0
            del asks  # or they would keep devices that have gone until the next one asks

    def _split(self) -> tuple[list[Ask], list[Ask]]:
        size = knobs.get().bind_batch
        return self._asks[:size], self._asks[size:]

    async def _step_back(self, asks: Sequence[Ask], error: Exception) -> None:
        """Park whom Redis left without an answer; the plan after its return wakes them."""
        if not self._failures:
            logger.warning("gateway.redis_away", extra={"reason": str(error)})
        self._nothing(asks, retry=True)
        wait_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
        self._failures += 1
        await asyncio.sleep(wait_s)

    async def bind(self, asks: Sequence[Ask]) -> None:
        """Answer every one of ``asks``."""
        for ask in asks:
            ask.assignment_id = str(uuid7())
        grants: list[Grant] = []
        try:
            if asks:
                grants = await self._chosen([ask for ask in asks if ask.choice is not None])
                grants += await self._scripted([ask for ask in asks if ask.choice is None])
        finally:
            # Redis away is no reason to keep a device's slot: what waits is committed all the same.
            if grants or self.moves:
                await self._commit(grants)

    async def _chosen(self, asks: Sequence[Ask]) -> list[Grant]:
        requests = []
        for ask in asks:
            assert ask.choice is not None
            ranked, refused = ask.choice
            requests.append(
                binding.ChoiceRequest(
                    ask.one.device, ask.assignment_id, ask.one.signature, ranked, refused
                )
            )
        grants, answers = [], await self.scripts.choose(requests)
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(answer, binding.Bound):
                grants.append(Grant(ask, answer.round_id, answer.plan_version))
            else:
                self._nothing([ask])
        return grants

    async def _scripted(self, asks: Sequence[Ask]) -> list[Grant]:
        if not asks:
            return []
        answers = await self._asked(asks)
        grants: list[Grant] = []
        offered: list[tuple[Ask, binding.Offered]] = []
        for ask, answer in zip(asks, answers, strict=True):
            match answer:
                case binding.Bound(round_id, plan_version):
                    grants.append(Grant(ask, round_id, plan_version))
                case binding.Offered():
                    offered.append((ask, answer))
                case binding.Nothing():
                    self._nothing([ask])
                case _:
                    self._nothing([ask], retry=True)
        if any(isinstance(answer, binding.NoEpoch | binding.Unplanned) for answer in answers):
            self._hint()
        if offered:
            for ask in await offers.show(offered, self.scripts):
                self._nothing([ask], retry=True)
        return grants

    def _hint(self) -> None:
        if self._hinting is None or self._hinting.done():
            self._hinting = asyncio.create_task(self._hinted())

    async def _hinted(self) -> None:
        with contextlib.suppress(DatabaseAway):  # the planner's own sweep is the rule
            await self._threads.rows(
                lambda: hints.send("scheduling.plan", queue="scheduling"), patience_s=1.0
            )

    async def _asked(self, asks: Sequence[Ask]) -> list[binding.Answer]:
        for _ in range(STALE_TRIES):
            requests = [
                binding.Request(ask.one.device, ask.assignment_id, ask.one.signature)
                for ask in asks
            ]
            answers = await self.scripts.bind(requests, self._signer.groups.version)
            if not isinstance(answers[0], binding.StaleGroups):
                break
            self._signer.change(await self.scripts.groups())
            for ask in asks:
                ask.one.sign()
        return answers

    async def _commit(self, grants: Sequence[Grant]) -> None:
        batch = self.moves.take()
        try:
            settlements, told, faults = await self._threads.commit(
                lambda: _committed(grants, batch, self._details, self.leaves),
                patience_s=COMMIT_PATIENCE_S,
            )
        except DatabaseAway:
            # Rows unknown: the grants lapse in Redis by themselves, a row by its start lease.
            self._nothing([grant.ask for grant in grants], retry=True)
            if batch is not None:
                self.moves.keep(batch)
            return
        except BaseException:
            if batch is not None:
                self.moves.end(batch, {})
            raise
        if batch is not None:
            self.moves.end(batch, faults)
        if grants:
            await self._settle(grants, settlements, told)

    async def _settle(
        self,
        grants: Sequence[Grant],
        settlements: Sequence[binding.Settlement],
        told: dict[str, wire.Assignment],
    ) -> None:
        missed = []
        for grant, settlement in zip(grants, settlements, strict=True):
            found = told.get(grant.ask.assignment_id)
            BINDS.labels(settlement.outcome).inc()
            if found is None:
                missed.append(grant.ask)
            else:
                # It has its row, which is all that a device needs; Redis may hear of it after.
                grant.ask.one.feed(Bound(found))
        try:
            await self.scripts.settle(settlements)
        except REDIS_AWAY as error:
            # The rows stand; the planner rebuilds what Redis forgot from them.
            logger.warning("gateway.settle_lost", extra={"reason": str(error)})
        if any(one.outcome != "assigned" for one in settlements):
            self._hint()  # their slots are open again with the next plan
        self._nothing(missed)

    def _nothing(self, asks: Sequence[Ask], *, retry: bool = False) -> None:
        for ask in asks:
            ask.one.tried = UNTRIED if retry else ask.tried
            ask.one.feed(NothingToBind())


def _committed(
    grants: Sequence[Grant], batch: Batch | None, details: Details, leaves: Leaves
) -> tuple[list[binding.Settlement], dict[str, wire.Assignment], dict[UUID, PropiusError]]:
    """Write the rows; return what became of each grant, what its device is told, late accepts."""
    now = timezone.now()
    faults: dict[UUID, PropiusError] = {}
    if batch is not None and batch.accepts:
        accepts = [
            (UUID(identifier), UUID(one.device)) for identifier, one in batch.accepts.items()
        ]
        faults = jobs.services.accept_many(accepts=accepts, now=now)
    returns = list(batch.returns.values()) if batch is not None else []
    if not grants and not returns:
        return [], {}, faults
    bindings = [
        jobs.services.Binding(
            UUID(grant.ask.assignment_id),
            UUID(grant.round_id),
            UUID(grant.ask.one.device),
            grant.plan_version,
        )
        for grant in grants
    ]
    done = jobs.services.exchange(returns=returns, bindings=bindings, now=now)
    assigned = {
        one.assignment_id: one.round_id
        for one in bindings
        if done.outcomes[one.assignment_id] == "assigned"
    }
    workloads = {
        one.assignment_id: grant.ask.one.profile.workloads
        for grant, one in zip(grants, bindings, strict=True)
    }
    told = details.of_new(assigned, done.windows, workloads, now=now)
    leaves.refresh(now=now)
    settlements = []
    for grant, one in zip(grants, bindings, strict=True):
        identifier = grant.ask.assignment_id
        outcome = done.outcomes[one.assignment_id]
        if outcome == "busy":
            # Bound by an earlier try of this very commit, or to a session that broke off.
            held = jobs.selectors.assignment_for_device(one.device_id)
            if held is not None:
                told[identifier] = of_held(held, workloads[one.assignment_id], now=now)
                outcome = "assigned" if held.id == one.assignment_id else "busy"
        if identifier in told:
            who = grant.ask.one
            told[identifier] = leaves.told(
                told[identifier], device=who.device, pool=who.profile.pool_id
            )
        settlements.append(
            binding.Settlement(grant.round_id, identifier, grant.ask.one.device, outcome)
        )
    return settlements, told, faults
