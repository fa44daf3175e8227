"""What a device has learnt of its own speed, and the plans that follow from it.

``pace.json`` in the device's folder keeps examples per second by workload and the rates of the
link. It is never sent. Plans forget after hours: who declines because of a bad day would learn
nothing better, and decline for ever.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from propius import wire
from propius.adaptive import (
    TOO_SLOW,
    Adaptive,
    Plan,
    Situation,
    Speed,
    TooSlow,
    plan,
    smoothed,
)
from propius.agent.events import (
    ConditionsChanged,
    Disconnected,
    DownloadFinished,
    Event,
    MessageReceived,
    TransferProgress,
)
from propius.agent.identity import write_private
from propius.agent.refusals import Judge, Refusal
from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.training.config import TrainConfig

log = logging.getLogger(__name__)
WORKLOADS_MAX = 200
FORGET_S = 6 * 3600.0
UP, DOWN = "up", "down"
LEAST_BYTES = 64 * 1024
"""A smaller transfer tells of the latency, not of the rate."""

Rate = Annotated[float, msgspec.Meta(gt=0)]


class _Learnt(msgspec.Struct, kw_only=True):
    down_bytes_per_s: Rate | None = None
    up_bytes_per_s: Rate | None = None
    speeds: dict[str, Speed] = {}
    learnt_at: dict[str, float] = {}


@dataclass(slots=True)
class _Transfer:
    size_bytes: int
    began_at: float


@dataclass(slots=True)
class Pace:
    """Measures, remembers and plans for one device.

    ``always_cold`` says that each piece of work begins in a process of its own, and so what is
    loaded first is a part of the pace. ``clock`` is in seconds since 1970.
    """

    path: Path
    always_cold: bool = False
    clock: Callable[[], float] = time.time
    _learnt: _Learnt = field(default_factory=_Learnt)
    _transfers: dict[int, _Transfer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._learnt = msgspec.json.decode(self.path.read_bytes(), type=_Learnt)
            for name in (UP, DOWN, *self._learnt.speeds):
                self._learnt.learnt_at.setdefault(name, self.clock())  # of an older SDK
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            # It is learnt again within a round.
            log.warning("pace.unusable: %s", error)

    @property
    def down_bytes_per_s(self) -> float | None:
        """Rate of downloads; ``None`` before the first."""
        return self._learnt.down_bytes_per_s

    @property
    def up_bytes_per_s(self) -> float | None:
        """Rate of uploads, until the platform has counted them; ``None`` before the first."""
        return self._learnt.up_bytes_per_s

    def speed(self, workload: dict[str, Any]) -> Speed | None:
        """How fast this workload runs here; ``None`` before the first round, or long after it."""
        key = _key(workload)
        return self._learnt.speeds.get(key) if self._is_fresh(key) else None

    def saw(self, event: Event, now: float) -> None:
        """Learn the link's rates from what the session hears, between two points of a transfer."""
        match event:
            case TransferProgress(transfer, done, total):
                self._transfers.setdefault(transfer, _Transfer(total - done, now))
            case DownloadFinished(transfer, error):
                rate = self._rate(transfer, now)
                if rate is not None and error is None:
                    known = self._fresh(DOWN, self._learnt.down_bytes_per_s)
                    self._learnt.down_bytes_per_s = _after(known, rate)
                    self._learnt.learnt_at[DOWN] = self.clock()
                    self._save()
            case MessageReceived(wire.Accepted()):
                # Downloads have ended long before: what is left is the upload that now counts.
                for transfer in list(self._transfers):
                    rate = self._rate(transfer, now)
                    if rate is not None:
                        known = self._fresh(UP, self._learnt.up_bytes_per_s)
                        self._learnt.up_bytes_per_s = _after(known, rate)
                        self._learnt.learnt_at[UP] = self.clock()
                self._save()
            case Disconnected() | ConditionsChanged():
                # While the owner's conditions do not hold transfers rest: that is no slow link.
                self._transfers.clear()

    def trained(self, workload: dict[str, Any], done: LocalOutcome, *, slowdown: float) -> None:
        """Learn from work that is done, unless it began cold and the next will not."""
        if done.train_s <= 0 or done.processed < 1 or (done.cold and not self.always_cold):
            return
        newest = Speed(
            examples_per_s=done.processed / (done.train_s * slowdown),
            overhead_s=max(0.0, done.seconds - done.train_s) * slowdown,
        )
        speeds, key = self._learnt.speeds, _key(workload)
        known = self.speed(workload)
        speeds.pop(key, None)
        speeds[key] = newest if known is None else known.learnt(newest)
        self._learnt.learnt_at[key] = self.clock()
        while len(speeds) > WORKLOADS_MAX:
            oldest = next(iter(speeds))
            del speeds[oldest]
            self._learnt.learnt_at.pop(oldest, None)
        self._save()

    def judging(self, judge: Judge) -> Judge:
        """Return a judge that also refuses what cannot be done in time."""

        def judged(asked: wire.Assignment | wire.Candidate) -> Refusal | None:
            return judge(asked) or self._too_slow(asked)

        return judged

    def plan(self, work: LocalWork, *, left_s: float, examples: int | None) -> Plan | None:
        """Plan work whose parameters are here; ``None`` if the job does not adapt.

        Reads the model's header: for a thread.

        Raises
        ------
        TrainingError
            Not even the least work can be done in time.
        """
        # Here, not above: an idle agent carries no numpy.
        from propius.agent import updates

        one = work.assignment
        adaptive = _adaptive(one)
        if adaptive is None:
            return None
        try:
            return self._planned(one, adaptive, left_s, examples, updates.sizes(work, adaptive))
        except TooSlow as error:
            raise TrainingError(TOO_SLOW, str(error)) from error

    def _too_slow(self, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        if not isinstance(asked, wire.Assignment):
            return None
        try:
            adaptive = _adaptive(asked)
        except msgspec.ValidationError as error:
            # Of a newer platform: no reason for the agent to end.
            text = f"workload.adaptive has a form not known here: {error}"
            return Refusal("unsupported", text[:500])
        if adaptive is None:
            return None
        left_s = asked.deadline_s
        down = self._fresh(DOWN, self.down_bytes_per_s)
        if down is not None:
            left_s -= asked.parameters.size_bytes / down
        try:
            # What the report weighs is known once the parameters are here.
            self._planned(asked, adaptive, left_s, None, {asked.codec: 0.0})
        except TooSlow as error:
            return Refusal(TOO_SLOW, str(error))
        return None

    def _planned(
        self,
        one: wire.Assignment,
        adaptive: Adaptive,
        left_s: float,
        examples: int | None,
        codec_bytes: dict[str, float],
    ) -> Plan:
        config = msgspec.convert(one.workload.get("train", {}), TrainConfig)
        situation = Situation(
            left_s=left_s,
            examples=examples,
            speed=self.speed(one.workload),
            up_bytes_per_s=self._fresh(UP, self.up_bytes_per_s),
            codec_bytes=codec_bytes,
        )
        return plan(
            adaptive,
            situation,
            batch_size=config.batch_size,
            local_steps=config.local_steps,
            epochs=config.epochs,
        )

    def _is_fresh(self, name: str) -> bool:
        learnt_at = self._learnt.learnt_at.get(name)
        # A clock that was put back makes nothing last for ever.
        return learnt_at is not None and abs(self.clock() - learnt_at) < FORGET_S

    def _fresh(self, name: str, rate: float | None) -> float | None:
        return rate if self._is_fresh(name) else None

    def _rate(self, transfer: int, now: float) -> float | None:
        found = self._transfers.pop(transfer, None)
        if found is None or found.size_bytes < LEAST_BYTES or now <= found.began_at:
            return None
        return found.size_bytes / (now - found.began_at)

    def _save(self) -> None:
        try:
            write_private(self.path, msgspec.json.encode(self._learnt))
        except OSError as error:
            log.warning("pace.not_kept: %s", error)


def _adaptive(one: wire.Assignment) -> Adaptive | None:
    """The job's block, if this is work that can be cut short."""
    said = one.workload.get("adaptive")
    if said is None or one.kind != "train" or one.workload.get("kind") != "program":
        return None
    return msgspec.convert(said, Adaptive)


def _after(known: float | None, newest: float) -> float:
    return newest if known is None else smoothed(known, newest)


def _key(workload: dict[str, Any]) -> str:
    return f"{workload.get('program') or workload.get('handler')}/{workload.get('dataset')}"
