"""What if: the last hours under the policy and shares in force, and under those proposed."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from core import connections, hints
from core.errors import Invalid, NotFound
from scheduling import keys, planning, policies, quotas, replaying, selectors
from scheduling.models import TenantQuota, TenantShare
from scheduling.policies import Share
from scheduling.replaying import Replay, TenantReplay
from scheduling.sharing import Terms
from tenants.models import Tenant
from tenants.scopes import system_scope

logger = logging.getLogger(__name__)

MOST_HOURS = 168.0
KEPT_S = 3_600
PHASES = ("asked", "present", "proposed")
"""What a worker is at: nothing yet, the replay of what is in force, that of the proposal."""


class PreviewInvalid(Invalid):
    """A policy, share or time that cannot be previewed."""

    code = "preview_invalid"


class PreviewUnknown(NotFound):
    """No such preview was asked for within the last hour."""

    code = "preview_unknown"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to preview: ``hours`` back, a policy (None: the one in force), and changed shares.

    ``shares`` are by the tenant's slug; tenants that are not named keep theirs.
    """

    hours: float = 6.0
    policy: str | None = None
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shares: Mapping[str, Terms] = dataclasses.field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """The same recorded hours under what is in force and under what is proposed."""

    since: datetime
    until: datetime
    minutes: int
    present: Replay
    proposed: Replay


@dataclass(frozen=True, slots=True)
class Asked:
    """A preview that was asked for: ``preview`` once it is there, ``fault`` if it never will be.

    ``phase`` is how far it is, one of ``PHASES``.
    """

    id: UUID
    preview: Preview | None = None
    fault: str = ""
    phase: str = "asked"


def check(proposal: Proposal) -> None:
    """Raise PreviewInvalid, naming each field with its value and what is allowed."""
    errors = {}
    if not 0 < proposal.hours <= MOST_HOURS:
        errors["hours"] = f"{proposal.hours!r}; above 0 and up to {MOST_HOURS:g} is allowed"
    if proposal.policy is not None:
        try:
            policies.make(proposal.policy, proposal.parameters)
        except policies.BadParameters as error:
            errors |= {
                "policy" if name == "name" else f"parameters.{name}": text
                for name, text in error.errors.items()
            }
    elif proposal.parameters:
        errors["parameters"] = "name the policy that they are for"
    with system_scope():
        known = set(Tenant.objects.filter(slug__in=proposal.shares).values_list("slug", flat=True))
    for slug, terms in proposal.shares.items():
        if slug not in known:
            errors[f"shares.{slug}"] = f"{slug!r}; the slug of a tenant is allowed"
        errors |= {f"shares.{slug}.{name}": text for name, text in terms.errors().items()}
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise PreviewInvalid(text, errors=errors)


def _nobody(phase: str) -> None:
    """Do nothing with how far it is."""


def preview(proposal: Proposal, *, now: datetime, tell: Callable[[str], None] = _nobody) -> Preview:
    """Replay the last hours twice. Takes seconds to minutes: for a worker or a command.

    ``tell`` hears of each of ``PHASES`` as it begins. Raises PreviewInvalid or NothingRecorded.
    """
    check(proposal)
    since = now - timedelta(hours=proposal.hours)
    with system_scope():
        fleet, jobs = replaying.recorded(since=since, now=now)
        slugs = {str(row.id): row.slug for row in Tenant.objects.all()}
        present = {slugs[one]: share for one, share in _shares().items()}
        active = selectors.active_policy()
    jobs = [dataclasses.replace(one, tenant=slugs.get(one.tenant, one.tenant)) for one in jobs]
    # One for each replay; of a row that no longer fits the code, what the planner makes of it.
    in_force = planning.policy_or_default(active.name, active.parameters)
    if proposal.policy is None:
        chosen = planning.policy_or_default(active.name, active.parameters)
    else:
        chosen = policies.make(proposal.policy, proposal.parameters)
    changed = {slug: Share(**dataclasses.asdict(terms)) for slug, terms in proposal.shares.items()}
    seed = proposal.seed
    tell("present")
    before = replaying.replay(fleet, jobs, in_force, shares=present, seed=seed)
    tell("proposed")
    after = replaying.replay(fleet, jobs, chosen, shares=present | changed, seed=seed)
    minutes = replaying.minutes_recorded(since=since, now=now)
    return Preview(since=since, until=now, minutes=minutes, present=before, proposed=after)


def ask(proposal: Proposal, *, now: datetime) -> UUID:
    """Have a worker preview; :func:`answer` has the result. Raises PreviewInvalid."""
    check(proposal)
    preview_id = uuid4()
    asked = {"proposal": dataclasses.asdict(proposal), "now": now.isoformat()}
    connections.soft_state().set(keys.preview(preview_id), json.dumps(asked), ex=KEPT_S)
    hints.send("scheduling.preview", str(preview_id), queue="batch")
    return preview_id


def work(preview_id: UUID) -> None:
    """Preview what was asked for, and keep the answer; nothing to do if nobody asks any more."""
    client = connections.soft_state()
    text: Any = client.get(keys.preview(preview_id))
    if text is None:
        return
    asked = json.loads(text)
    if "preview" in asked or "fault" in asked:
        return

    def tell(phase: str) -> None:
        client.set(keys.preview(preview_id), json.dumps(asked | {"phase": phase}), ex=KEPT_S)

    try:
        now = datetime.fromisoformat(asked["now"])
        found = preview(_proposal(asked["proposal"]), now=now, tell=tell)
    except (PreviewInvalid, replaying.NothingRecorded) as error:
        answer: dict[str, Any] = {"fault": error.detail}
    except Exception as error:
        # The edge: nobody asks again for who waits at the page, so it must hear of its end.
        logger.exception("preview.crashed", extra={"preview": str(preview_id)})
        answer = {"fault": f"it crashed ({type(error).__name__}); see the log of worker-batch"}
    else:
        answer = {"preview": dataclasses.asdict(found)}
    client.set(keys.preview(preview_id), json.dumps(asked | answer, default=str), ex=KEPT_S)


def answer(preview_id: UUID) -> Asked:
    """Return how far a preview is. Raises PreviewUnknown."""
    asked = _read(preview_id)
    found = asked.get("preview")
    if found is None:
        phase = asked.get("phase", PHASES[0])
        return Asked(preview_id, fault=asked.get("fault", ""), phase=phase)
    return Asked(
        preview_id,
        Preview(
            since=datetime.fromisoformat(found["since"]),
            until=datetime.fromisoformat(found["until"]),
            minutes=found["minutes"],
            present=_replay(found["present"]),
            proposed=_replay(found["proposed"]),
        ),
        phase=PHASES[-1],
    )


def asked_for(preview_id: UUID) -> tuple[Proposal, datetime]:
    """Return what a preview is of, and when it was asked for. Raises PreviewUnknown."""
    asked = _read(preview_id)
    return _proposal(asked["proposal"]), datetime.fromisoformat(asked["now"])


def _read(preview_id: UUID) -> dict[str, Any]:
    text: Any = connections.soft_state().get(keys.preview(preview_id))
    if text is None:
        raise PreviewUnknown(f"no preview {preview_id} was asked for within the last hour")
    found: dict[str, Any] = json.loads(text)
    return found


def _proposal(plain: dict[str, Any]) -> Proposal:
    shares = {slug: Terms(**terms) for slug, terms in plain["shares"].items()}
    return Proposal(**{**plain, "shares": shares})


def _replay(plain: dict[str, Any]) -> Replay:
    tenants = tuple(TenantReplay(**one) for one in plain.pop("tenants"))
    return Replay(**plain, tenants=tenants)


def _shares() -> dict[str, Share]:
    """Return the shares in force by tenant, bounded by quotas as the planner does."""
    quota_of = {row.tenant_id: row for row in TenantQuota.objects.exclude(devices=None)}
    share_of = {row.tenant_id: row for row in TenantShare.objects.all()}
    found = {}
    for tenant_id in quota_of.keys() | share_of.keys():
        row = share_of.get(tenant_id) or TenantShare()
        ceiling = quotas.devices_at_once(share_of.get(tenant_id), quota_of.get(tenant_id))
        found[str(tenant_id)] = Share(
            weight=row.weight,
            guarantee=row.guarantee if ceiling is None else min(row.guarantee, ceiling),
            ceiling=ceiling,
            lending_limit=row.lending_limit,
        )
    return found
