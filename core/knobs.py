"""Knobs: each number an operator may turn, read once from the environment as ``PROPIUS_<NAME>``."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping


class BadKnob(ValueError):
    """A knob whose value cannot be used; the text names it, its value and what is allowed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Knobs:
    """Defaults fit one machine. Seconds, bytes and counts, as the names say."""

    start_lease_s: float = 10.0
    lease_s: float = 30.0
    ping_s: float = 20.0
    offer_s: float = 5.0
    visit_s: float = 60.0
    drain_s: float = 5.0
    fold_batch: int = 8
    fold_claim_s: float = 15.0
    min_cohort: int = 5
    max_weight: float = 1e6
    max_local_steps: int = 100_000
    max_parameters_bytes: int = 2 << 30
    max_program_bytes: int = 16 << 20
    program_check_memory_mb: int = 2048
    program_check_s: float = 60.0
    blob_grace_s: float = 3600.0
    assignment_days: float = 90.0
    scrub_bytes: int = 2 << 30
    ticket_s: float = 600.0
    ticket_key_s: float = 86_400.0
    leaf_wait_s: float = 10.0
    leaf_silent_s: float = 15.0
    bind_batch: int = 500
    bind_delay_s: float = 0.002
    admission_wait_s: float = 2.0
    admission: str = "queue"
    admission_over_quota: str = "queue"
    supply_window_s: float = 86_400.0
    request_head_s: float = 10.0
    request_body_s: float = 30.0
    api_requests_per_minute: int = 1200
    enrolments_per_minute: int = 600
    strangers_per_address: int = 1000
    sign_ins: int = 10
    sign_ins_per_account: int = 100
    sign_ins_per_address: int = 200
    sign_in_window_s: float = 900.0
    event_streams: int = 200
    event_stream_s: float = 900.0
    idempotency_s: float = 86_400.0
    webhook_addresses: str = "public"
    webhook_retention_s: float = 604_800.0


_ALLOWED = {
    "webhook_addresses": ("public", "any"),
    "admission": ("queue", "refuse"),
    "admission_over_quota": ("queue", "refuse"),
}
# Quotas look back a month, and shares twelve half-lives of a day.
_WITHIN = {"assignment_days": (32, 36_500)}


@functools.cache
def get() -> Knobs:
    """Return the knobs of this process. Raises BadKnob at the first call."""
    return read(os.environ)


def read(environment: Mapping[str, str]) -> Knobs:
    """Build the knobs from an environment.

    Raises
    ------
    BadKnob
        A value of the wrong type, not above zero, or not among those allowed.
    """
    values: dict[str, float | int | str] = {}
    for field in dataclasses.fields(Knobs):
        name = f"PROPIUS_{field.name.upper()}"
        raw = environment.get(name)
        if raw is not None:
            values[field.name] = _parse(name, raw, field.name, field.default)
    return Knobs(**values)  # type: ignore[arg-type]


def _parse(name: str, raw: str, field: str, default: object) -> float | int | str:
    if isinstance(default, str):
        if raw not in _ALLOWED[field]:
            raise BadKnob(f"{name}={raw!r}: allowed are {', '.join(_ALLOWED[field])}")
        return raw
    kind = int if isinstance(default, int) else float
    try:
        number = kind(raw)
    except ValueError:
        raise BadKnob(f"{name}={raw!r}: a {kind.__name__} above 0 is allowed") from None
    if not 0 < number < float("inf"):
        raise BadKnob(f"{name}={raw!r}: a {kind.__name__} above 0 is allowed")
    least, most = _WITHIN.get(field, (0, float("inf")))
    if not least <= number <= most:
        raise BadKnob(f"{name}={raw!r}: a {kind.__name__} from {least} to {most} is allowed")
    return number
