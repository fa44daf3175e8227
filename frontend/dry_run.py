"""What a dry run found, in words for its page. Pure: a dry run in, terms and sentences out."""

from __future__ import annotations

from clients.telling import Told
from frontend import explanation, words
from scheduling.dry_run import DryRun
from scheduling.eligibility import Fitting

_DECIDED = {
    "admitted": "It would start at once",
    "queued": "It would be queued until this changes",
    "rejected": "It would be refused",
}


def facts(found: DryRun) -> list[tuple[str, str]]:
    """Say what would come of a job file, as (term, sentence)."""
    shown = []
    if found.decision in _DECIDED:
        shown.append(("Admission", f"{_DECIDED[found.decision]}: {found.reason}."))
    fits = found.fitting
    if fits is None:
        return shown
    shown.append(("Devices that fit", eligible(fits)))
    if found.training is not None and found.evaluation is not None:
        shown.append(("Held out", _held_out(found.training, found.evaluation)))
    if found.decision in ("admitted", "invalid"):
        shown.append(("First round", _first_round(found)))
    if found.refusals:
        of = "Of your jobs that ask for the same data, in the last three hours: "
        shown.append(("Refused", of + explanation.refused(found.refusals)))
    return shown


def eligible(fits: Fitting) -> str:
    """Say how many devices fit."""
    return (
        f"{fits.known.text} of {fits.devices.text} known; {fits.day.text} were there in the last "
        f"day, {fits.online.text} are online now."
    )


def _held_out(training: Told, evaluation: Told) -> str:
    return (
        f"About {evaluation.text} of those of the last day never train for this job, only evaluate "
        f"it; about {training.text} are left to train."
    )


def _first_round(found: DryRun) -> str:
    text = f"It binds {words.count(found.target, 'device')}"
    if found.fill_s is None:
        text += "; nobody can say when: none that fits has checked in during the last hour."
    elif found.fill_s == 0:
        text += ": at once, if no other job goes first."
    else:
        text += f": in about {words.duration(found.fill_s)}, if no other job goes first."
    return f"{text}{_end(found)}"


def _end(found: DryRun) -> str:
    if found.round_s is None:
        return ""
    if found.round_by == "learnt":
        lasts = f"about {words.duration(found.round_s)} more"
        made_of = "as long as a round of your newest job with this workload took"
    else:
        lasts = f"at most {words.duration(found.round_s)} more"
        made_of = "its deadline, for no round with this workload has closed yet"
    text = f" Then it works for {lasts}: {made_of}."
    if found.fill_s:
        which = "about" if found.round_by == "learnt" else "at most about"
        text += (
            f" So it ends {which} {words.duration(found.fill_s + found.round_s)} from its start."
        )
    return text
