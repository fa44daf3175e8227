"""Keeps the leaf's holdings: what comes in, what is folded, what is handed over, what goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aggregation import blobs
from aggregation.leaf import holdings, messages, summing
from aggregation.leaf.holder import Holder
from aggregation.leaf.holdings import Folded, Holding
from aggregation.leaf.journal import Journal, Member
from aggregation.leaf.root import NotNow, Root, RootAway
from aggregation.transfer.threads import Threads
from core.errors import PropiusError
from propius import codec

logger = logging.getLogger(__name__)
LOOK_S = 0.25
AWAY_S = 0.5


@dataclass(frozen=True, slots=True)
class When:
    """When a sum is handed over, if the root does not ask for it before."""

    count: int = 256
    age_s: float = 30.0


class Keeper:
    """One leaf's updates. All of its methods run on one event loop."""

    def __init__(self, root: Root, journal: Journal, threads: Threads, when: When) -> None:
        self.rounds: dict[str, Holding] = {}
        self.fold_batch = 8
        self._root = root
        self._journal = journal
        self._threads = threads
        self._when = when
        self._holder = Holder(root, settled=self._settled)
        self._journalled: dict[str, Member] = {}
        self._recipes: dict[str, asyncio.Task[messages.Recipe]] = {}
        self._arriving = Counter[str]()
        self._wake = asyncio.Event()

    # --- what comes in ------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what an earlier process left. Needs the root only in the background."""
        for member in await self._threads.files(self._journal.read):
            self._journalled[member.assignment] = member
            self._holder.ask(member)

    async def recipe(self, round_id: str) -> messages.Recipe:
        """Return how updates of a round are written. Raises RootAway, RootRefused."""
        held = self.rounds.get(round_id)
        if held is not None:
            return held.recipe
        task = self._recipes.get(round_id)
        if task is None:
            task = self._recipes[round_id] = asyncio.create_task(self._root.recipe(round_id))
            task.add_done_callback(lambda done: self._told(round_id, done))
        return await asyncio.shield(task)

    async def take(self, round_id: str, said: messages.Update) -> None:
        """Make an update that is in the store the leaf's own; returns when it may be acknowledged.

        Raises PropiusError: the root's word against it, or RootAway; then it is asked again.
        """
        member = self._journalled.get(said.assignment)
        if member is None:
            member = await self._threads.files(partial(self._journal.add, round_id, said))
            self._journalled[said.assignment] = member
        if not self._holds(member):
            await self._holder.ask(member)

    @contextlib.contextmanager
    def arriving(self, digest: str) -> Iterator[None]:
        """Keep a blob whose update is not noted yet."""
        self._arriving[digest] += 1
        try:
            yield
        finally:
            self._arriving[digest] -= 1
            self._arriving += Counter()  # drops what is at zero

    def has(self, assignment: str) -> bool:
        """Tell whether the update is acknowledged."""
        member = self._journalled.get(assignment)
        return member is not None and self._holds(member)

    def pinned(self) -> set[str]:
        """Return the digests of blobs that must stay."""
        waiting = {one.said.digest for one in self._journalled.values()}
        return waiting | set(self._arriving) | holdings.digests(self.rounds.values())

    @property
    def held(self) -> int:
        """Return how many updates the root has not got."""
        return len(self._journalled)

    def told(self, states: Mapping[str, messages.State]) -> None:
        """Hear how rounds stand."""
        for round_id, state in states.items():
            if state == "over":
                self._drop(round_id, [one.assignment for one in self._of(round_id)])
            elif state == "push" and round_id in self.rounds:
                self.rounds[round_id].wanted = True
                self._wake.set()

    def asked_about(self) -> list[str]:
        """Return the rounds that this leaf has updates of."""
        return sorted({one.round for one in self._journalled.values()})

    # --- what goes out ------------------------------------------------------------------------

    async def run(self) -> None:
        """Fold and hand over for as long as the process lives."""
        tasks = {
            asyncio.create_task(self._holder.run()),
            asyncio.create_task(self._hand_over()),
        }
        try:
            # Neither may end: a leaf that takes and never asks, or never hands over, is no leaf.
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hand_over(self) -> None:
        while True:
            try:
                for round_id in list(self.rounds):
                    await self._look(round_id)
            except RootAway as error:
                logger.warning("leaf.root_away", extra={"reason": str(error)})
                await asyncio.sleep(AWAY_S)
            except Exception:
                # The edge: one round's fault must not keep the others' updates here.
                logger.exception("leaf.failed")
                await asyncio.sleep(AWAY_S)
            self._wake.clear()
            await _within(self._wake.wait(), LOOK_S)

    async def _look(self, round_id: str) -> None:
        held = self.rounds[round_id]
        if not held.count:
            del self.rounds[round_id]
            return
        if not held.recipe.fold:
            await self._forward(round_id, held)
            return
        due = held.is_due(now=time.monotonic(), count=self._when.count, age_s=self._when.age_s)
        try:
            while batch := held.batch(self.fold_batch, rest=due):
                await self._fold(held, batch)
            batches = list(held.folded) if due else []
            path = await self._merged(batches) if batches else None
        except (PropiusError, ValueError, OSError) as error:
            # What cannot be folded here is judged at the root, one by one.
            logger.warning("leaf.not_folded", extra={"round": round_id, "reason": str(error)})
            await self._forward(round_id, held)
            return
        if path is not None:
            await self._push(round_id, held, batches, path)

    async def _fold(self, held: Holding, batch: tuple[Member, ...]) -> None:
        base: Path | None = None
        if codec.get(held.recipe.codecs[0]).difference:
            base = blobs.store().path(held.recipe.base)
        work = partial(summing.fold, held.recipe, batch, base)
        held.fold(Folded(batch, await self._threads.files(work)))

    async def _merged(self, batches: list[Folded]) -> Path:
        digests = [one.digest for one in batches]
        return blobs.store().path(await self._threads.files(partial(summing.merge, digests)))

    async def _push(self, round_id: str, held: Holding, batches: list[Folded], path: Path) -> None:
        members = [[one.assignment for one in batch.members] for batch in batches]
        try:
            await self._root.push(round_id, path, path.name, members)
        except RootAway:
            raise
        except PropiusError as error:
            await self._refused(round_id, held, error)
            return
        logger.info("leaf.pushed", extra={"round": round_id, "count": sum(map(len, members))})
        self._drop(round_id, [one for batch in members for one in batch])

    async def _refused(self, round_id: str, held: Holding, error: PropiusError) -> None:
        logger.warning("leaf.refused", extra={"round": round_id, "reason": str(error)})
        if error.code == "overlap" and error.errors:
            # The root has these already; what is left is folded without them.
            self._drop(round_id, list(error.errors))
        elif error.code in ("round_closed", "not_found"):
            self._drop(round_id, [one.assignment for one in held.members()])
        else:
            await self._forward(round_id, held)
        self._wake.set()

    async def _forward(self, round_id: str, held: Holding) -> None:
        for one in held.members():
            try:
                await self._root.forward(one.said, blobs.store().path(one.said.digest))
            except NotNow as error:
                # Its device has heard that it is taken: it stays until the root has its say.
                logger.info(
                    "leaf.forwarded_later",
                    extra={"assignment": one.assignment, "reason": str(error)},
                )
                continue
            except RootAway:
                raise
            except PropiusError as error:
                logger.warning(
                    "leaf.not_forwarded",
                    extra={"assignment": one.assignment, "reason": str(error)},
                )
            self._drop(round_id, [one.assignment])

    # --- small parts --------------------------------------------------------------------------

    def _settled(self, member: Member, error: PropiusError | None, push: bool) -> None:
        """Hear the root's word on one update."""
        if error is not None:
            self._drop(member.round, [member.assignment])
            return
        adding = asyncio.ensure_future(self._add(member, push))
        adding.add_done_callback(_logged)

    async def _add(self, member: Member, push: bool) -> None:
        while True:
            try:
                recipe = await self.recipe(member.round)
                break
            except RootAway:
                await asyncio.sleep(AWAY_S)
        if member.assignment not in self._journalled or self._holds(member):
            return
        held = self.rounds.setdefault(member.round, Holding(recipe))
        held.add(member, now=time.monotonic())
        held.wanted |= push
        self._wake.set()

    def _holds(self, member: Member) -> bool:
        held = self.rounds.get(member.round)
        return held is not None and member in held.members()

    def _of(self, round_id: str) -> list[Member]:
        return [one for one in self._journalled.values() if one.round == round_id]

    def _drop(self, round_id: str, assignments: list[str]) -> None:
        """Forget updates: the notes first, so that none is ever without its tensors."""
        gone = set(assignments)
        held = self.rounds.get(round_id)
        before = self.pinned()
        if held is not None:
            held.without(gone)
        for one in assignments:
            self._journalled.pop(one, None)
            _forgiving(partial(self._journal.drop, [one]))
        needed = self.pinned() | {held.recipe.base if held is not None else ""}
        for digest in before - needed:
            _forgiving(partial(blobs.store().delete, digest, grace_s=0.0))

    def _told(self, round_id: str, done: asyncio.Task[messages.Recipe]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._recipes.pop(round_id, None)
        while len(self._recipes) > 1_000:
            self._recipes.pop(next(iter(self._recipes)))


def _forgiving(work: Callable[[], object]) -> None:
    """Delete; what the disk does not let go of is asked about, or evicted, another time."""
    try:
        work()
    except OSError as error:
        logger.error("leaf.not_deleted", extra={"reason": str(error)})


async def _within(work: Coroutine[Any, Any, Any], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)


def _logged(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        logger.error("leaf.lost_track", extra={"reason": str(error)})
