"""The agent's attempts to connect: how long it waits between them, and when it gives up."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl

from websockets.asyncio.client import ClientConnection

from propius.agent.connection import AgentStopped, Backoff, Unreachable, open_socket
from propius.agent.identity import Enrolment, Home, write_private

log = logging.getLogger(__name__)
SERVED = "served"
"""A file in the device's folder: the gateway that has welcomed it."""
SLOW_BASE_S, SLOW_CAP_S = 60.0, 900.0


class Later(Exception):
    """No connection now; the next attempt is to be made after ``wait_s``."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"tried again in {wait_s:.1f} s")
        self.wait_s = wait_s


class Attempts:
    """The attempts of one device.

    A wrong address ends an agent at once. But where it was served before, the address is right: a
    proxy's 403, a certificate that ran out or a hotel's sign-in page is somebody else's to mend,
    and a fleet that has ended does not come back by itself.
    """

    def __init__(
        self, home: Home, enrolment: Enrolment, *, base_s: float, cap_s: float, rng: random.Random
    ) -> None:
        self._mark = home / SERVED
        self._enrolment = enrolment
        self._ids = {"device": enrolment.device}
        self._dialling: asyncio.Task[ClientConnection] | None = None
        self._given_up = False
        self._backoff = Backoff(base_s=base_s, cap_s=cap_s, rng=rng)
        self._slow = Backoff(base_s=SLOW_BASE_S, cap_s=SLOW_CAP_S, rng=rng)
        try:
            self._is_served = self._mark.read_text() == enrolment.gateway
        except (OSError, ValueError):
            self._is_served = False

    async def open(self, tls: ssl.SSLContext | None) -> ClientConnection:
        """Open a socket to the gateway.

        Raises
        ------
        Later
            Not now; the log has the reason.
        AgentStopped
            As :meth:`turned_away`.
        """
        if self._given_up:
            raise Later(0.0)
        self._dialling = asyncio.create_task(open_socket(self._enrolment.gateway, tls))
        try:
            return await self._dialling
        except Unreachable as error:
            wait_s = self.next()
            log.warning(
                "session.unreachable reason=%s retry_s=%.1f", error, wait_s, extra=self._ids
            )
            raise Later(wait_s) from error
        except AgentStopped as error:
            raise Later(self.turned_away(error)) from error
        except asyncio.CancelledError:
            if self._given_up:
                raise Later(0.0) from None
            raise
        finally:
            self._dialling = None

    def give_up(self) -> None:
        """End the attempt that is under way, if any; there will be no more."""
        self._given_up = True
        if self._dialling is not None:
            self._dialling.cancel()

    def next(self) -> float:
        """Return the next wait in seconds."""
        return self._backoff.next()

    def spread(self, after_s: float) -> float:
        """See :meth:`Backoff.spread`."""
        return self._backoff.spread(after_s)

    def reset(self) -> None:
        """Start again from the shortest wait."""
        self._backoff.reset()
        self._slow.reset()

    def welcomed(self) -> None:
        """Note that this gateway serves the device."""
        self.reset()
        if self._is_served:
            return
        self._is_served = True
        try:
            write_private(self._mark, self._enrolment.gateway.encode())
        except OSError as error:
            log.warning("served.not_kept: %s", error)

    def turned_away(self, error: AgentStopped) -> float:
        """Return how long to wait after what only a person can mend.

        Raises
        ------
        AgentStopped
            The device has never been served at this address.
        """
        if not self._is_served:
            raise error
        wait_s = self._slow.next()
        log.error(
            "session.turned_away code=%s retry_s=%.0f: %s. It was served here before: it tries on",
            error.code,
            wait_s,
            error,
            extra=self._ids,
        )
        return wait_s
