"""Reads of jobs, rounds and assignments, as frozen values for the planes and the pages."""

from jobs.selectors.assignments import (
    AssignmentDetail,
    assignment_details,
    assignment_for_device,
    assignments_for_devices,
    assignments_known,
    bound_by_tenant,
    devices_seen,
)
from jobs.selectors.conditions import OPEN, TROUBLE
from jobs.selectors.pools import owns_its_pools
from jobs.selectors.rounds import (
    OpenRound,
    current_round,
    current_rounds,
    open_rounds,
    tenants_waiting,
)
from jobs.selectors.waits import Waiting, round_waiting, waiting, waits

__all__ = [
    "OPEN",
    "TROUBLE",
    "AssignmentDetail",
    "OpenRound",
    "Waiting",
    "assignment_details",
    "assignment_for_device",
    "assignments_for_devices",
    "assignments_known",
    "bound_by_tenant",
    "current_round",
    "current_rounds",
    "devices_seen",
    "open_rounds",
    "owns_its_pools",
    "round_waiting",
    "tenants_waiting",
    "waiting",
    "waits",
]
