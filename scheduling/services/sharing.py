"""The policy, and what each tenant may have of the fleet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from core import hints, reasons
from core.errors import Invalid
from scheduling import policies, previews, recording, selectors
from scheduling.models import ShareChange, SharingPolicy, TenantShare
from scheduling.sharing import Terms
from tenants import services as tenant_services
from tenants.models import Tenant


class PolicyInvalid(Invalid):
    """No such policy, or parameters that it does not take."""

    code = "policy_invalid"


class ShareInvalid(Invalid):
    """A weight, guarantee, ceiling or lending limit that makes no sense."""

    code = "share_invalid"


@transaction.atomic
def set_policy(
    *, name: str, parameters: Mapping[str, Any], author: str, reason: str, now: datetime
) -> SharingPolicy:
    """Choose the policy for the whole fleet, at once; bound devices stay. Raises PolicyInvalid."""
    errors = reasons.faults(reason)
    try:
        policies.make(name, parameters)
    except policies.BadParameters as error:
        errors |= error.errors
    PolicyInvalid.check(errors)
    before = selectors.active_policy()
    chosen = SharingPolicy.objects.create(
        name=name, parameters=dict(parameters), reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=None, actor=author, action="policy.set", target=name, now=now, reason=reason,
        parameters=dict(parameters),
        **reasons.before({"name": before.name, "parameters": before.parameters}),
    )  # fmt: skip
    recording.record_next_plan()
    hints.send("scheduling.plan", queue="scheduling")
    return chosen


@transaction.atomic
def set_share(
    *,
    tenant_id: UUID,
    weight: float,
    guarantee: int,
    ceiling: int | None,
    author: str,
    now: datetime,
    lending_limit: int | None = None,
    reason: str = "",
) -> TenantShare:
    """Set a tenant's part of the fleet, in devices at once; bound devices stay.

    ``lending_limit`` is how much of the guarantee others may have while the tenant does not ask
    for it; None is all. Raises ShareInvalid.
    """
    terms = Terms(weight, guarantee, ceiling, lending_limit)
    ShareInvalid.check(terms.errors())
    bounds = dataclasses.asdict(terms)
    old = TenantShare.objects.filter(tenant_id=tenant_id).values(*bounds).first()
    share, _ = TenantShare.objects.update_or_create(
        tenant_id=tenant_id, defaults={**bounds, "updated_by": author, "updated_at": now}
    )
    ShareChange.objects.create(
        tenant_id=tenant_id, **bounds, reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=tenant_id, actor=author, action="share.set", target=str(tenant_id), now=now,
        reason=reason, **bounds, **reasons.before(old),
    )  # fmt: skip
    recording.record_next_plan()
    hints.send("scheduling.plan", queue="scheduling")
    return share


@transaction.atomic
def apply_proposal(proposal: previews.Proposal, *, author: str, reason: str, now: datetime) -> None:
    """Put in force what was previewed: its policy, if it has one, and its shares.

    Raises PolicyInvalid, ShareInvalid.
    """
    PolicyInvalid.check(reasons.faults(reason))
    if proposal.policy is not None:
        set_policy(
            name=proposal.policy,
            parameters=proposal.parameters,
            author=author,
            reason=reason,
            now=now,
        )
    ids = dict(Tenant.objects.filter(slug__in=proposal.shares).values_list("slug", "id"))
    for slug, terms in proposal.shares.items():
        set_share(
            tenant_id=ids[slug],
            **dataclasses.asdict(terms),
            author=author,
            reason=reason,
            now=now,
        )


def revert_policy(*, policy_id: int, author: str, now: datetime) -> SharingPolicy:
    """Choose a policy of the history again, as a new row. Raises PolicyInvalid."""
    old = SharingPolicy.objects.get(id=policy_id)
    return set_policy(
        name=old.name,
        parameters=old.parameters,
        author=author,
        reason=reasons.of_revert("choice", old),
        now=now,
    )


def revert_share(*, change_id: int, author: str, now: datetime) -> TenantShare:
    """Set a share of the history again. Raises ShareInvalid."""
    old = ShareChange.objects.get(id=change_id)
    return set_share(
        tenant_id=old.tenant_id,
        weight=old.weight,
        guarantee=old.guarantee,
        ceiling=old.ceiling,
        lending_limit=old.lending_limit,
        author=author,
        reason=reasons.of_revert("share", old),
        now=now,
    )
