"""Read a job file: what it asks for, and whether this platform can be asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from clients import selectors as client_selectors
from clients.models import AttributeDefinition
from core import knobs
from core.errors import Unprocessable
from jobs import constraints, holdout
from jobs.models import Job
from propius import constraints as job_constraints
from propius import spec as job_spec


class SpecInvalid(Unprocessable):
    """The job file has faults; each is named."""

    code = "spec_invalid"


def draft(*, tenant_id: UUID, raw: Mapping[str, Any], submitted_by: str, now: datetime) -> Job:
    """Return the job that a file would make, not written. Raises SpecInvalid."""
    spec, effective = _check(tenant_id, raw)
    return Job(
        tenant_id=tenant_id,
        name=spec["name"],
        spec=spec | {"effective": effective},
        spec_raw=dict(raw),
        priority=spec["priority"],
        constraint_group=constraints.group_of(effective),
        holdout_key=holdout.new_key() if holdout.fraction_of(spec) else "",
        submitted_by=submitted_by,
        submitted_at=now,
    )


def _check(tenant_id: UUID, raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the normalised spec and its effective public constraints."""
    try:
        parsed = job_spec.parse(raw)
    except job_spec.SpecError as error:
        raise SpecInvalid(str(error), errors=error.errors) from error
    spec = job_spec.normalised(parsed)
    pools, faults = _pools(tenant_id, spec["pools"])
    faults = _unknown_attributes(spec["constraints"]["public"]) | _below_floor(spec) | faults
    if faults:
        raise _invalid(faults)
    return spec, constraints.effective(spec, pools)


def conditions(
    *, tenant_id: UUID, public: Mapping[str, Any], pools: list[str]
) -> tuple[dict[str, Any], set[str]]:
    """Return public constraints in normal form, and the ids of the pools. Raises SpecInvalid."""
    try:
        plain = job_constraints.as_json(job_constraints.parse(public))
    except job_constraints.ConstraintError as error:
        field = ".".join(part for part in ("constraints.public", error.field) if part)
        raise _invalid({field: str(error)}) from error
    chosen, faults = _pools(tenant_id, pools)
    faults = _unknown_attributes(plain) | faults
    if faults:
        raise _invalid(faults)
    return plain, chosen


def _invalid(faults: Mapping[str, str]) -> SpecInvalid:
    text = "; ".join(f"{field}: {fault}" for field, fault in faults.items())
    return SpecInvalid(text, errors=faults)


def _pools(tenant_id: UUID, names: list[str]) -> tuple[set[str], dict[str, str]]:
    """Return the ids of the named pools, or of all that the tenant may use, and what is unknown."""
    usable = client_selectors.pools_for(tenant_id)
    # Shared ones first: a pool of one's own may have the name of a shared one, and hides it.
    pools = {one.name: str(one.id) for one in sorted(usable, key=lambda one: not one.is_shared)}
    faults = {
        f"pools.{index}": f"no pool {name!r}; yours are {', '.join(sorted(pools))}"
        for index, name in enumerate(names)
        if name not in pools
    }
    chosen = {pools[name] for name in names if name in pools}
    return chosen or {str(one.id) for one in usable}, faults


def _unknown_attributes(public: Mapping[str, Any]) -> dict[str, str]:
    known = dict(AttributeDefinition.objects.values_list("name", "type"))
    faults = {}
    for name, condition in public.items():
        field = f"constraints.public.{name}"
        if name not in known:
            faults[field] = f"unknown attribute {name!r}; known are {', '.join(sorted(known))}"
        elif "in" not in condition and known[name] != AttributeDefinition.Type.NUMBER:
            faults[field] = f"{name} is a {known[name]}; use in with a list of values"
        else:
            odd = [one for one in condition.get("in", ()) if _type_of(one) != known[name]]
            if odd:
                faults[field] = f"in holds {odd[0]!r}; {name} is a {known[name]}"
    return faults


def _type_of(value: Any) -> AttributeDefinition.Type:
    if isinstance(value, bool):
        return AttributeDefinition.Type.BOOLEAN
    is_text = isinstance(value, str)
    return AttributeDefinition.Type.STRING if is_text else AttributeDefinition.Type.NUMBER


def _below_floor(spec: Mapping[str, Any]) -> dict[str, str]:
    floor = knobs.get().min_cohort
    faults = {}
    if spec["rounds"]["min_cohort"] < floor:
        faults["rounds.min_cohort"] = (
            f"{spec['rounds']['min_cohort']} is below this platform's floor of {floor}"
        )
    evaluation = spec["evaluation"]
    least = max(floor, spec["rounds"]["min_cohort"])
    if evaluation["every"] and evaluation["demand"] < least:
        faults["evaluation.demand"] = f"{evaluation['demand']} is below the least cohort of {least}"
    return faults
