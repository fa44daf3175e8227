"""What a job is doing, in words with numbers. Pure: rows in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.figures import count as count
from core.figures import figure as figure


class JobLike(Protocol):
    """What is needed of a job's row."""

    status: str
    outcome: str
    reason: dict[str, object]
    held: str
    version: int


class RoundLike(Protocol):
    """What is needed of the row of its open round."""

    kind: str
    status: str
    number: int
    attempt: int
    demand: int
    target: int
    concurrency: int | None
    assigned: int
    reported: int
    extensions: int


@dataclass(frozen=True, slots=True)
class State:
    """``tone`` colours, ``label`` names, ``text`` explains."""

    tone: str
    label: str
    text: str


_ENDED = {
    "completed": ("good", "Completed", "All rounds are done."),
    "failed": ("bad", "Failed", "It could not go on."),
    "cancelled": ("off", "Cancelled", "Somebody stopped it."),
    "rejected": ("bad", "Rejected", "The platform did not take it."),
    "expired": ("bad", "Expired", "It did not end in time."),
}


def state(job: JobLike, current: RoundLike | None, *, held: str = "") -> State:
    """Say in what state a job is and, where it waits, for what.

    ``held``: why the operator keeps devices from its open round.
    """
    if job.status == "finished":
        return _ended(job)
    if job.held:
        return State("bad", "Quarantined", f"{job.held[:1].upper()}{job.held[1:]}.")
    if job.status == "submitted":
        waits = str(job.reason.get("message") or "the program's check and admission")
        return State("wait", "Submitted", f"Waiting for {waits}.")
    if job.status == "paused":
        return State("off", "Paused", _paused(current))
    if current is None:
        return State("busy", "Running", "Between two rounds.")
    running = _running(job, current)
    if not held:
        return running
    return State("wait", "Held for maintenance", f"{held[:1].upper()}{held[1:]}. {running.text}")


def _ended(job: JobLike) -> State:
    tone, label, text = _ENDED.get(job.outcome, ("off", job.outcome.capitalize(), ""))
    if job.outcome == "completed":
        text = f"{count(job.version, 'round')} done; the model is at version {job.version}."
    elif job.outcome == "cancelled":
        text = f"Stopped after {count(job.version, 'round')}." if job.version else "Stopped early."
        return State(tone, label, text)
    return State(tone, label, _message(job) or text)


def _paused(current: RoundLike | None) -> str:
    under_way = current.assigned - current.reported if current else 0
    if under_way > 0:
        return f"No new devices are taken; {count(under_way, 'device')} may still report."
    return "No new devices are taken until it is resumed."


def _running(job: JobLike, current: RoundLike) -> State:
    if current.concurrency is not None and current.status in ("selecting", "executing"):
        return _filling(current, current.concurrency)
    what = f"{'Round' if current.kind == 'train' else 'Evaluation of version'} {current.number}"
    if current.status == "selecting":
        text = f"{what}: {figure(current.assigned)} of {figure(current.target)} devices bound."
        if current.extensions:
            text += " Too few came in time, so the wait was extended."
        return State("wait", "Waiting for devices", text)
    if current.status == "executing":
        doing = "Training" if current.kind == "train" else "Evaluating"
        text = f"{what}: {figure(current.reported)} of {figure(current.demand)} devices reported."
        return State("busy", doing, text)
    if current.kind == "train":
        text = f"{what}: merging {count(current.reported, 'update')}."
    else:
        text = f"{what}: averaging the measures of {count(current.reported, 'device')}."
    return State("busy", "Aggregating", text)


def _filling(current: RoundLike, concurrency: int) -> State:
    """Of an asynchronous job: how full the buffer is, and who is at work."""
    at_work = current.assigned - current.reported
    reports = f"{figure(current.reported)} of {count(current.demand, 'update')}"
    devices = f"{figure(at_work)} of {count(concurrency, 'device')}"
    text = f"Buffer {current.number}: {reports}, {devices} at work."
    if not at_work:
        return State("wait", "Waiting for devices", text)
    return State("busy", "Training", text)


def _message(job: JobLike) -> str:
    message = str(job.reason.get("message") or "")
    return message[:1].upper() + message[1:]


def headline(*, running: int, waiting: int, attention: int, others: int = 0) -> str:
    """Return the one sentence that answers: what is going on, and does anything need me?"""
    if running or waiting:
        parts = []
        if running:
            parts.append(f"{count(running, 'job')} {'is' if running == 1 else 'are'} training")
        if waiting:
            noun = count(waiting, "job") if not running else figure(waiting)
            parts.append(f"{noun} {'waits' if waiting == 1 else 'wait'}")
        doing = " and ".join(parts)
    else:
        doing = "Nothing is running"
    if attention or others:
        named = [count(attention, "job")] if attention else []
        named += [count(others, "other thing" if attention else "thing")] if others else []
        need = f"{' and '.join(named)} {'needs' if attention + others == 1 else 'need'} a look"
    else:
        need = "nothing needs you"
    return f"{doing}; {need}."


_ASSIGNMENT = {
    "reported": "Reported",
    "declined": "Declined",
    "failed": "Failed",
    "expired": "Went silent",
    "cancelled": "Not needed any more",
}
_PHASE = {
    "downloading": "Downloading the model",
    "training": "Training",
    "evaluating": "Evaluating",
    "uploading": "Uploading",
}


def assignment(status: str, phase: str, *, accepted: bool) -> str:
    """Say what a device of a round does."""
    if status != "bound":
        return _ASSIGNMENT.get(status, status)
    if phase:
        return _PHASE.get(phase, phase)
    return "Starting" if accepted else "Bound, not yet heard from"


_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(number_bytes: float) -> str:
    """Return bytes in decimal units."""
    unit = _unit(number_bytes)
    return f"{_in(number_bytes, unit)} {_UNITS[unit]}"


def transfer(done_bytes: int, size_bytes: int, bytes_per_s: float) -> str:
    """Return ``1.2 of 98.0 MB at 3.4 MB/s``; both sizes in the unit of the whole."""
    unit = _unit(size_bytes)
    done, whole = _in(done_bytes, unit), _in(size_bytes, unit)
    return f"{done} of {whole} {_UNITS[unit]} at {size(bytes_per_s)}/s"


def _unit(number_bytes: float) -> int:
    unit = 0
    while number_bytes >= 1000 and unit < len(_UNITS) - 1:
        number_bytes, unit = number_bytes / 1000, unit + 1
    return unit


def _in(number_bytes: float, unit: int) -> str:
    return f"{number_bytes / 1000**unit:.{1 if unit else 0}f}"


def duration(seconds: float) -> str:
    """Return a duration to two units at most, such as ``1 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller in ((86_400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = (whole % size) // {"h": 3600, "min": 60, "s": 1}[smaller]
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def searched(text: str) -> str:
    """Return what somebody searches for, without what no text here holds: Postgres refuses NUL."""
    return text.replace("\0", "").strip()[:100]
