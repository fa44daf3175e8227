"""Whether a job can be run again from what its manifest and its fleet's journal tell."""

from __future__ import annotations

from propius.fleet.journal import Journal
from propius.manifest import Manifest, ManifestRound

ASYNCHRONOUS, STATEFUL = "fedbuff", "scaffold"


class CannotRerun(ValueError):
    """The manifest or what is beside it does not say enough to run the job again."""


def check(manifest: Manifest, fleet: Journal) -> list[ManifestRound]:
    """Return the rounds to run again. Raises CannotRerun for what cannot be."""
    spec = manifest.spec
    reasons = {
        "its rounds were driven by a program of the tenant's": bool(spec.get("driven")),
        "privacy adds noise that nobody can draw again": bool(spec.get("privacy")),
        "a query has no model": spec["workload"]["kind"] == "query",
        "of an asynchronous job it is not kept in which rounds its devices began": (
            spec["strategy"]["name"] == ASYNCHRONOUS
        ),
        "virtual devices keep no control variates": spec["strategy"]["name"] == STATEFUL,
    }
    for words, holds in reasons.items():
        if holds:
            raise CannotRerun(f"job {manifest.job} cannot be run again: {words}")
    rounds = [one for one in manifest.rounds if one.kind == "train" and one.version is not None]
    if not rounds:
        raise CannotRerun(f"no round of job {manifest.job} made a model version")
    for one in rounds:
        if one.forgotten:
            raise CannotRerun(
                f"round {one.number}: the platform has forgotten which devices took part, as it "
                "does some time after a job has finished; a manifest exported before has them"
            )
        unknown = [member for member in one.cohort if member.assignment not in fleet.done]
        if unknown:
            raise CannotRerun(
                f"round {one.number}: {len(unknown)} of {len(one.cohort)} devices are not in the "
                f"journal ({unknown[0].device} is the first). What real devices trained on never "
                "leaves them; only a job that ran on virtual devices alone can be run again"
            )
    return sorted(rounds, key=lambda one: one.number)
