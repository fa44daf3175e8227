"""A job's events in words. Pure: kinds and their data in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frontend import endings, words
from frontend.endings import Ending

_JOB = {
    "submitted": ("wait", "Submitted; its program is checked, then it is admitted"),
    "admitted": ("good", "Admitted"),
    "queued": ("wait", "Waits to be admitted"),
    "demand_granted": ("busy", "Its rounds now ask for another number of devices"),
    "paused": ("off", "Paused: no new devices are taken"),
    "resumed": ("busy", "Resumed"),
    "completed": ("good", "Completed: all rounds are done"),
    "failed": ("bad", "Failed"),
    "cancelled": ("off", "Cancelled"),
    "rejected": ("bad", "Rejected"),
    "expired": ("bad", "Expired"),
}
_ROUND = {
    "opened": ("wait", "opened: devices are selected"),
    "executing": ("busy", "has its devices: they are at work"),
    "aggregating": ("busy", "closed: what was reported is merged"),
    "completed": ("good", "completed"),
    "failed": ("bad", "failed"),
    "abandoned": ("off", "was given up"),
    "extended": ("wait", "waits longer: too few came in time"),
}
_CODES = {
    "too_few_devices": "too few devices came",
    "too_few_reports": "too few devices reported in time",
    "fold_failed": "what was reported could not be merged",
    "cancelled": "the job was cancelled",
    "completed": "the job has ended",
    "infeasible": "too few devices can ever fit",
    "over_quota": "the tenant is at its quota",
}
_DEVICE_TONES = {"declined": "wait", "failed": "bad", "expired": "bad", "cancelled": "off"}
_TONES: dict[str, str] = {
    "round.leaf_lost": "bad",
    "round.outliers": "wait",
    **{f"job.{what}": tone for what, (tone, _) in _JOB.items()},
    **{f"round.{what}": tone for what, (tone, _) in _ROUND.items()},
    **{f"assignment.{what}": tone for what, tone in _DEVICE_TONES.items()},
}
LOGS: dict[str, tuple[str, list[str] | None]] = {
    "": ("All", None),
    "rounds": ("Rounds", [one for one in _TONES if one.startswith("round.")]),
    "devices": ("Devices", [one for one in _TONES if one.startswith("assignment.")]),
    "problems": ("Problems", [one for one, tone in _TONES.items() if tone == "bad"]),
}
"""Parts of a job's log: what each is called, and the kinds of events in it."""


def sentence(
    kind: str, data: Mapping[str, Any], *, which: str, count: int, is_open: bool
) -> tuple[str, str]:
    """Return an event's tone and words; ``which`` names its round, ``count`` says how often.

    A kind that is not known here is told as it is.
    """
    of, _, what = kind.partition(".")
    code = str(data.get("code") or "")
    if of == "job" and what in _JOB:
        tone, text = _JOB[what]
        return tone, f"{_told(what, text, data)}{_because(code, what)}."
    if kind == "round.leaf_lost":
        lost = words.count(int(data.get("count") or 0), "report")
        return "bad", f"{which}: {lost} lost with a leaf."
    if kind == "round.outliers":
        some = words.count(int(data.get("count") or 0), "update")
        return "wait", f"{which}: {some} moved the model far more than the others, or far less."
    if of == "round" and what in _ROUND:
        tone, text = _ROUND[what]
        return tone, f"{which} {text}{_because(code, what)}."
    if of == "assignment" and what in _DEVICE_TONES:
        ended = endings.text(Ending(what, code, count), is_open=is_open)
        return _DEVICE_TONES[what], f"{which}, devices: {ended}."
    return "ready", f"{kind.replace('.', ': ').replace('_', ' ').capitalize()}."


def round_name(*, kind: str, number: int, attempt: int, is_buffer: bool) -> str:
    """Return what a round is called."""
    if is_buffer:
        name = f"Buffer {number}"
    else:
        name = f"{'Round' if kind == 'train' else 'Evaluation of version'} {number}"
    return f"{name}, attempt {attempt}" if attempt > 1 else name


def _told(what: str, text: str, data: Mapping[str, Any]) -> str:
    if what == "demand_granted":
        demand = data.get("demand")
        asked = "as many devices as its job file says"
        if isinstance(demand, int):
            asked = words.count(demand, "device")
        return f"Its rounds now ask for {asked}"
    return text


def _because(code: str, what: str) -> str:
    if not code or code == what:
        return ""
    return f": {_CODES.get(code, code.replace('_', ' '))}"
