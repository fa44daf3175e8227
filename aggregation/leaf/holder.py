"""Ask the root for leave to acknowledge: many updates in one question."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

from aggregation.leaf.journal import Member
from aggregation.leaf.messages import Held
from aggregation.leaf.root import Root, RootRefused
from core.errors import PropiusError

logger = logging.getLogger(__name__)

AT_ONCE = 64
RETRY_S = 0.5
FINAL = frozenset({"not_found", "leaf_unknown"})
"""There is no such round, or the leaf was shut out: asking again gives the same."""
HAS_IT = "already_reported"
"""The root has this update from elsewhere, or this leaf handed it over before: all is well."""

Settled = Callable[[Member, PropiusError | None, bool], None]
"""Takes a member, why the root does not want it from this leaf (None: it is held), and whether
the round wants all that is held."""


class Holder:
    """Asks again until the root has answered: an answer that was lost may have been a yes."""

    def __init__(self, root: Root, *, settled: Settled) -> None:
        self._root = root
        self._settled = settled
        self._asking: defaultdict[str, list[Member]] = defaultdict(list)
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()

    def ask(self, member: Member) -> asyncio.Future[None]:
        """Return a future that ends when the update may be acknowledged.

        It raises what the root says against it; RootAway if nothing can be said now.
        """
        waiting = self._waiting.get(member.assignment)
        if waiting is None or waiting.done():
            waiting = self._waiting[member.assignment] = asyncio.get_running_loop().create_future()
        if member not in self._asking[member.round]:
            self._asking[member.round].append(member)
        self._wake.set()
        return waiting

    async def run(self) -> None:
        """Ask for as long as the process lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for round_id in list(self._asking):
                members = self._asking.pop(round_id)
                for start in range(0, len(members), AT_ONCE):
                    await self._ask(round_id, members[start : start + AT_ONCE])

    async def _ask(self, round_id: str, members: list[Member]) -> None:
        try:
            held = await self._root.hold(round_id, [one.said for one in members])
        except PropiusError as error:
            if error.code in FINAL:
                for one in members:
                    self._settle(one, error, push=False)
                return
            logger.warning("leaf.root_away", extra={"reason": str(error)})
            for one in members:
                self._answer(one, error)
            self._asking[round_id] = members + self._asking[round_id]
            asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
        else:
            for one in members:
                self._settle(one, _why_not(one, held), push=held.push)

    def _settle(self, member: Member, error: PropiusError | None, *, push: bool) -> None:
        self._settled(member, error, push)
        self._answer(member, None if error is not None and error.code == HAS_IT else error)

    def _answer(self, member: Member, error: PropiusError | None) -> None:
        waiting = self._waiting.pop(member.assignment, None)
        if waiting is None or waiting.done():
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
            waiting.exception()  # nobody may wait for it any more, which is no fault


def _why_not(member: Member, held: Held) -> PropiusError | None:
    if member.assignment in held.taken:
        return None
    why = held.refused.get(member.assignment)
    code, text = (why.code, why.message) if why else ("refused", "the root does not say why")
    return RootRefused(409, {"code": code, "detail": text})
