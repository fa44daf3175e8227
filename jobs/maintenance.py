"""Whether the operator has paused or stopped the fleet, and what jobs then wait for."""

from __future__ import annotations

import dataclasses

from jobs.models import Maintenance, Round
from jobs.selectors import Waiting, round_waiting

FOR_DEVICES = ("waiting_for_devices", "waiting_for_reports")


def in_force() -> Maintenance | None:
    """Return what the operator has asked for; None in normal times."""
    newest = Maintenance.objects.order_by("-id").first()
    if newest is None or newest.mode == Maintenance.Mode.NORMAL:
        return None
    return newest


def explained(waiting: Waiting, asked: Maintenance | None) -> Waiting:
    """Say of a wait for devices that it is the operator's doing; others stay as they are."""
    if asked is None or waiting.code not in FOR_DEVICES:
        return waiting
    if waiting.code == "waiting_for_reports" and asked.mode == Maintenance.Mode.PAUSED:
        return waiting  # those at work go on
    return dataclasses.replace(
        waiting, code="maintenance", message=f"{asked.message} ({waiting.message})"
    )


def held(round_: Round, asked: Maintenance | None) -> str:
    """Say why the operator keeps devices from a round; empty if it goes on."""
    if asked is None or explained(round_waiting(round_), asked).code != "maintenance":
        return ""
    return asked.message
