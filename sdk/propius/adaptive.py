"""How much local work a device takes on, so that it reports in time: pure, without torch.

A device knows how fast it trains this workload, how fast its link is, and how long the round still
goes on. :func:`plan` makes of that the most work that fits: fewer steps first, then smaller
batches, and a smaller codec where that leaves more time to train. The same function runs in the
agent and in ``benchmarks/adaptive.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

TOO_SLOW = "too_slow"
SMOOTHING = 0.5
"""How much of what is known of a device the newest measurement replaces."""


Faults = dict[str, str]


class Adaptive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job's permission to do less than ``train`` says; without it every device does all of it.

    Parameters
    ----------
    min_steps
        Fewest optimiser steps that are worth a report.
    min_batch
        Smallest batch; ``None`` keeps ``train.batch_size``.
    reserve
        Share of the time left that the plan leaves free.
    codecs
        Codecs beside the job's own, best first. All of them send differences, or none does.
    weigh
        What partial work counts in the mean: the device's ``examples``, or those ``processed``.
        By the strategy if not given: FedNova and FedProx correct for partial work themselves and
        weigh ``examples``; the others weigh what was ``processed``.
    """

    min_steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    min_batch: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    reserve: Annotated[float, Meta(ge=0, le=0.9)] = 0.2
    codecs: Annotated[list[str], Meta(max_length=9)] = []
    weigh: Literal["examples", "processed"] | None = None


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a device does one workload.

    ``overhead_s`` is what a round costs beside the steps: loading, writing, encoding.
    """

    examples_per_s: Annotated[float, Meta(gt=0)]
    overhead_s: Annotated[float, Meta(ge=0)] = 0.0

    def learnt(self, newest: Speed) -> Speed:
        """Return what is known after one more measurement."""
        return Speed(
            examples_per_s=smoothed(self.examples_per_s, newest.examples_per_s),
            overhead_s=smoothed(self.overhead_s, newest.overhead_s),
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """What a device knows when it plans.

    Parameters
    ----------
    left_s
        Time until the report must have arrived.
    examples
        In the device's training split; ``None`` if it cannot tell.
    speed
        ``None`` before the first round of a workload.
    up_bytes_per_s
        Of the link; ``None`` if never measured.
    codec_bytes
        Size of an update by codec, the job's own first, then in the job's order.
    """

    left_s: float
    examples: int | None
    speed: Speed | None
    up_bytes_per_s: float | None
    codec_bytes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a device will do.

    ``max_steps`` bounds the job's own number of steps. Training also ends at the first step after
    ``stop_after_s``, but not before ``min_steps``: a speed is a guess, the deadline is not.
    """

    max_steps: int | None
    min_steps: int
    batch_size: int
    codec: str
    stop_after_s: float


class TooSlow(Exception):
    """Not even the least work fits into the time left; the text is for people."""


def plan(
    adaptive: Adaptive,
    situation: Situation,
    *,
    batch_size: int,
    local_steps: int | None,
    epochs: int,
) -> Plan:
    """Choose steps, batch size and codec.

    Parameters
    ----------
    adaptive
        What the job allows.
    situation
        What the device knows.
    batch_size, local_steps, epochs
        The job's, as in :class:`propius.training.config.TrainConfig`.

    Raises
    ------
    TooSlow
        With the time that the least work needs and the time there is.

    Examples
    --------
    >>> fast = Situation(10.0, 320, Speed(examples_per_s=100.0), None, {"fp32": 1e6})
    >>> plan(Adaptive(), fast, batch_size=32, local_steps=100, epochs=1).max_steps
    25
    """
    wanted = _wanted(situation.examples, batch_size, local_steps, epochs)
    best: tuple[float, str, float] | None = None
    for codec, size in situation.codec_bytes.items():
        send_s = size / situation.up_bytes_per_s if situation.up_bytes_per_s else 0.0
        train_s = _train_s(adaptive, situation, send_s)
        fit = _examples_in(situation.speed, train_s)
        if best is None or fit > best[0]:
            best = fit, codec, send_s
        if fit >= wanted * batch_size:
            best = fit, codec, send_s
            break
    assert best is not None, "a job has a codec"
    fit, codec, send_s = best
    steps, batch = _fitted(adaptive, fit, batch_size, wanted)
    if steps < min(adaptive.min_steps, wanted):
        raise TooSlow(_words(adaptive, situation, send_s, batch))
    stop_after_s = _train_s(adaptive, situation, send_s, share=adaptive.reserve / 2)
    return Plan(
        max_steps=None if steps == inf else int(steps),
        min_steps=adaptive.min_steps,
        batch_size=batch,
        codec=codec,
        stop_after_s=max(0.0, stop_after_s),
    )


def smoothed(known: float, newest: float) -> float:
    """Return an estimate after one more measurement."""
    return known + SMOOTHING * (newest - known)


def faults(adaptive: Adaptive, *, codec: str, known: Sequence[str], batch_size: int) -> Faults:
    """Return what is wrong with a job's block, by field below it; ``known`` are all codecs."""
    if adaptive.min_batch is not None and adaptive.min_batch > batch_size:
        return {"min_batch": f"{adaptive.min_batch} is above train.batch_size ({batch_size})"}
    fit = alike(codec, known)
    for index, name in enumerate(adaptive.codecs):
        if name not in fit:
            return {f"codecs.{index}": unlike(name, codec, fit)}
    return {}


def alike(codec: str, known: Sequence[str]) -> list[str]:
    """Return the codecs that may stand beside ``codec``: one sum holds the updates of both."""
    return [one for one in known if sends_differences(one) == sends_differences(codec)]


def unlike(name: str, codec: str, allowed: Sequence[str]) -> str:
    """Say that one codec may not stand beside the other."""
    return (
        f"{name!r} cannot stand beside the codec {codec!r}; allowed, since they are"
        f" alike in sending differences or not: {', '.join(allowed)}"
    )


def normalise(workload: dict[str, Any], *, corrects: bool) -> None:
    """Fill in what the strategy decides; leave a job that does not adapt as it always was.

    ``corrects`` says that the strategy makes up for partial work by itself.
    """
    adaptive = workload.get("adaptive")
    if adaptive is None:
        workload.pop("adaptive", None)
    elif adaptive["weigh"] is None:
        adaptive["weigh"] = "examples" if corrects else "processed"


def sends_differences(codec: str) -> bool:
    """Tell whether a codec sends update − base, by its name."""
    return codec.startswith(("delta-", "topk"))


def allowed_codecs(codec: str, others: Sequence[str]) -> list[str]:
    """Return a job's codecs, its own first, each once."""
    return list(dict.fromkeys([codec, *others]))


def _wanted(examples: int | None, batch_size: int, local_steps: int | None, epochs: int) -> float:
    if local_steps is not None:
        return local_steps
    return inf if examples is None else epochs * ceil(examples / batch_size)


def _train_s(
    adaptive: Adaptive, situation: Situation, send_s: float, *, share: float | None = None
) -> float:
    """Time for steps, if ``share`` of what is left stays free."""
    overhead_s = situation.speed.overhead_s if situation.speed else 0.0
    kept = adaptive.reserve if share is None else share
    return situation.left_s * (1 - kept) - overhead_s - send_s


def _examples_in(speed: Speed | None, train_s: float) -> float:
    if train_s <= 0:
        return 0.0
    # Not known yet: the clock alone ends the first round.
    return inf if speed is None else speed.examples_per_s * train_s


def _fitted(adaptive: Adaptive, fit: float, batch_size: int, wanted: float) -> tuple[float, int]:
    """Steps and batch size of so many examples."""
    if fit == inf:
        return wanted, batch_size
    least = adaptive.min_batch or batch_size
    batch = min(batch_size, max(least, int(fit // min(adaptive.min_steps, wanted))))
    return min(wanted, fit // batch), batch


def _words(adaptive: Adaptive, situation: Situation, send_s: float, batch: int) -> str:
    speed = situation.speed
    needs_s = send_s
    if speed is not None:
        needs_s += speed.overhead_s + adaptive.min_steps * batch / speed.examples_per_s
    steps = "one step" if adaptive.min_steps == 1 else f"{adaptive.min_steps} steps"
    return (
        f"this device needs about {needs_s:.3g} s for {steps} and its report; the round has"
        f" {situation.left_s:.3g} s left, of which {adaptive.reserve:.0%} is kept free"
    )
