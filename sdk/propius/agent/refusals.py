"""Refusals of both sides: why a device does not take a job, and why a gateway sends one away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from propius import wire
from propius.adaptive import TOO_SLOW
from propius.agent.events import CloseAndRetry, Stop
from propius.agent.events import Refusal as Refusal

log = logging.getLogger(__name__)
PROTOCOL = frozenset(
    {"bad_frame", "bad_message", "too_long", "out_of_order", "digest_unknown", "offset_mismatch"}
)
"""Refusals that mean that the two ends do not understand each other."""
MAX_FAULTS = 5
"""So many of them within :data:`FAULT_MEMORY_S` are answered by a new connection."""
FAULT_MEMORY_S = 3600.0
MAX_FAULT_WAIT_S = 60.0
MAX_REMEMBERED = 1000

AGENT_ERROR = "agent_error"
PASSING = frozenset({TOO_SLOW, "busy", "condition", "preparing", AGENT_ERROR})
"""Refusals for now only: the next round may leave more time, or meet the owner's conditions."""
OF_DATA = frozenset({"dataset", "private_constraint"})
"""Refusals that an owner ends by mending a file; ``dataset.x.shape`` is one. Judged each time: what
the files hold is read again only when they change."""

FIXES = {
    "protocol_unsupported": "install a matching SDK: pip install --upgrade propius-sdk",
    "device_unknown": "this server does not know the device; check the server's URL, or enrol "
    "again: propius device enrol --url URL --token TOKEN",
    "bad_signature": "the key of this device is not the one that was enrolled; put the old key "
    "back, or enrol again: propius device enrol --url URL --token TOKEN",
    "device_revoked": "the operator has taken this device out of the pool; ask for a new "
    "enrolment token",
    "session_replaced": "another process runs with this device's key; stop one of the two, or "
    "enrol each with its own --home",
    "bad_attributes": "correct attributes.toml in the device's folder",
}
"""Fatal refusals that only a person can mend, with what to do."""


Judge = Callable[[wire.Assignment | wire.Candidate], Refusal | None]


def stop(refused: wire.Refused) -> Stop:
    """Return the instruction to end, with the gateway's words and the fix."""
    text = refused.message
    if refused.errors:
        text += " (" + "; ".join(f"{name}: {why}" for name, why in refused.errors.items()) + ")"
    fix = FIXES.get(refused.code, "look for a newer SDK, and tell the operator of the platform")
    return Stop(refused.code, f"{text}. To mend it: {fix}.")


class Faults:
    """Counts the fatal refusals of late and decides whether to come back."""

    def __init__(self) -> None:
        self.count = 0
        self._last_at = 0.0

    def answer(self, refused: wire.Refused, now: float) -> Stop | CloseAndRetry:
        """Return whether to stop, or how long to stay away: longer each time."""
        self.count = self.count + 1 if now < self._last_at + FAULT_MEMORY_S else 1
        self._last_at = now
        misunderstood = refused.code in PROTOCOL and self.count > MAX_FAULTS
        if refused.code in FIXES or misunderstood:
            return stop(refused)
        return CloseAndRetry(refused.code, min(MAX_FAULT_WAIT_S, 2.0**self.count))


def unsupported(offered: Iterable[int]) -> wire.Refused:
    """Return the refusal of a gateway that speaks none of our protocol versions."""
    return wire.Refused(
        code="protocol_unsupported",
        message=f"the gateway speaks protocol {sorted(offered)}, this SDK {wire.PROTOCOL}",
        fatal=True,
    )


class Verdicts:
    """What the judge said in this session, so that it is asked once for each job and kind."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.known: dict[tuple[str, str], Refusal] = {}

    def of(self, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        """Return why not, or ``None``. A refusal stands for the session, unless it passes."""
        # By kind: a handler without `evaluate` may still train for the job.
        key = asked.job, asked.kind
        refusal = self.known.get(key) or self._judged(asked)
        if refusal is not None and not _passes(refusal):
            self.known.pop(key, None)
            if len(self.known) >= MAX_REMEMBERED:
                del self.known[next(iter(self.known))]
            self.known[key] = refusal
        return refusal

    def _judged(self, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        try:
            return self.judge(asked)
        except Exception as error:
            # What a platform sends, or a disk does, shall end no agent: it would come again.
            log.exception("judge.failed")
            return Refusal(AGENT_ERROR, f"{type(error).__name__} in the agent")


def _passes(refusal: Refusal) -> bool:
    return refusal.code in PASSING or refusal.code.partition(".")[0] in OF_DATA
