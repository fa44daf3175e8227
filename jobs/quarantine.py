"""What the operator keeps from all devices: a job, a workload, a version of their software."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.models import Quarantine
from jobs.selectors import Waiting


def in_force() -> list[Quarantine]:
    """Return what has not been lifted, the oldest first."""
    return list(Quarantine.objects.filter(lifted_at=None).order_by("id"))


def barred_software() -> dict[str, str]:
    """Return, by the name and version of software, why devices that run it get nothing."""
    rows = Quarantine.objects.filter(kind=Quarantine.Kind.SDK, lifted_at=None)
    return {row.target: row.message for row in rows}


def held_by(job_id: Any, workload: Mapping[str, Any], rows: Iterable[Quarantine]) -> str:
    """Return why a job is kept from all devices; nothing if it is not."""
    named = {
        (Quarantine.Kind.JOB, str(job_id)),
        (Quarantine.Kind.WORKLOAD, workload.get("program")),
        (Quarantine.Kind.WORKLOAD, workload.get("handler")),
    }
    return next((one.message for one in rows if (one.kind, one.target) in named), "")


def explained(waiting: Waiting, barred: Mapping[str, str] | None = None) -> Waiting:
    """Say of a wait for devices that some get nothing for their software's sake.

    ``barred`` saves the look-up.
    """
    if waiting.code != "waiting_for_devices":
        return waiting
    why = "; ".join((barred_software() if barred is None else barred).values())
    return dataclasses.replace(waiting, message=f"{waiting.message} ({why})") if why else waiting
