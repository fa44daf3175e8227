"""``propius device run --once``: at most one assignment, over plain HTTP, and then the end.

For phones in background and batch clusters: something else starts it now and then. What it could
not finish waits in the device's folder, and the next run goes on with it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from propius import wire
from propius.agent import events as ev
from propius.agent import network
from propius.agent.agent import Agent
from propius.agent.connection import AgentStopped, Unreachable
from propius.agent.http_line import HttpLine
from propius.agent.visits import Visits
from propius.agent.watch import UNWILLING

TRIES = 3
AWAY_S = 60.0
UNWILLING_S = 300.0
GIVEN_BACK_S = 600.0
"""Before the same round is tried on this device again: this process forgets that it refused."""
GIVEN_BACK = {
    "assignment.declined": "declined",
    "assignment.failed": "failed",
    "session.refused": "refused",
}
"""Notes of the session after which the same would only happen again, and the words for them."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended; ``retry_after_s`` tells when to start the next, 0 for now."""

    message: str
    retry_after_s: float

    def words(self) -> str:
        """Say it in a line."""
        if not self.retry_after_s:
            return self.message
        return f"{self.message}; retry_after {self.retry_after_s:.0f} s"


class OneShot(Agent):
    """An agent that visits; see :class:`Agent`. The outcome stands after :meth:`run`."""

    outcome = RunOutcome("it did not come to anything", AWAY_S)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._client = network.http_client(self.device.home)
        self._pace.always_cold = True
        self._failures = 0
        self._ended = ""
        self._given_back = ""
        self._preparing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Do at most one assignment. Raises as :meth:`Agent.run`."""
        if not self.device.enrolment.data:
            raise AgentStopped(
                "no_data_url", "this device was enrolled with an older SDK; enrol it again"
            )
        try:
            await super().run()
        finally:
            await self._client.aclose()

    async def stop(self) -> None:
        """See :meth:`Agent.stop`."""
        if self._preparing is not None:
            self._preparing.cancel()
        await super().stop()

    async def _serve(self) -> None:
        if not self.session.bench.paused:
            # A run declines at once what needs data that is not ready, and ends: so wait for it.
            self._preparing = asyncio.create_task(self.device.datasets.refresh())
            await asyncio.wait({self._preparing})
            await self._visit_until_over()
        elif not self._stopping.is_set():
            self.outcome = RunOutcome(UNWILLING.message, UNWILLING_S)
        if self._stopped is not None:
            raise AgentStopped(self._stopped.code, self._stopped.message)

    async def _visit_until_over(self) -> None:
        while self._stopped is None and not self._stopping.is_set():
            if self._is_unwilling():
                self.outcome = RunOutcome(UNWILLING.message, UNWILLING_S)
                return
            wait_s = await self._connect()
            if self._is_over(wait_s):
                return
            await self._rest(wait_s)

    def _is_unwilling(self) -> bool:
        """Tell whether nothing is held, and the owner's conditions keep it from asking."""
        return self.session.bench.paused and self.session.bench.work is None

    def _apply(self, event: ev.Event) -> None:
        super()._apply(event)
        if self._is_unwilling():
            self._close()

    def _log(self, note: ev.Note, *, loud: bool) -> None:
        super()._log(note, loud=loud)
        if note.event in GIVEN_BACK:
            self._given_back = f"{GIVEN_BACK[note.event]} ({note.fields.get('code')})"
        elif note.event == "assignment.accepted":
            self._given_back = ""

    async def _connect(self) -> float:
        """Hold a line for as long as it lasts; return how long to wait before the next."""
        self._retry_after_s = None
        await asyncio.to_thread(self.session.introduction.renew, self._clock())
        self._line = line = self._open()  # type: ignore[assignment]
        self._apply(ev.Connected())
        reason, wait_s = "", None
        try:
            await line.run()
            self._failures = 0
        except (Unreachable, httpx.HTTPError, wire.ProtocolError) as error:
            self._failures += 1
            reason = str(error)
            self._log(ev.Note("session.unreachable", {"reason": reason}), loud=True)
        except AgentStopped as error:
            wait_s = self._attempts.turned_away(error)
            self._failures, reason = TRIES, str(error)
        finally:
            self._line = None
            self._apply(ev.Disconnected())
        self._ended = "done" if line.is_done else reason
        if self._retry_after_s is not None:
            return self._retry_after_s
        return self._attempts.next() if wait_s is None else wait_s

    def _open(self) -> HttpLine:
        visits = Visits(
            self._client,
            self.device.enrolment.gateway,
            self.session.introduction,
            self._recorder,
        )
        return HttpLine(
            visits,
            data=self.device.enrolment.data,
            asks=self.session.bench.work is None,
            cache=self._cache,
            spool=self._spool,
            counter=self._recorder,
            on_message=self._received,
            emit=self._apply,
        )

    def _is_over(self, wait_s: float) -> bool:
        """Tell whether this run has come to its end, and note how."""
        if self._ended == "done":
            given_back = RunOutcome(self._given_back, GIVEN_BACK_S)
            self.outcome = given_back if self._given_back else RunOutcome("done", 0.0)
            return True
        if self.session.bench.work is not None:
            return False  # a line broke: what is in hand is worth another
        if self._retry_after_s is not None:
            self.outcome = RunOutcome("nothing to do now", wait_s)
            return True
        if self._failures >= TRIES:
            self.outcome = RunOutcome(self._ended, AWAY_S)
            return True
        return False
