"""Tenants themselves."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import reasons
from core.errors import Conflict
from tenants.models import Tenant
from tenants.services.auditing import OPERATOR, audit


class SlugTaken(Conflict):
    """Another tenant has this slug."""

    code = "slug_taken"


@transaction.atomic
def create_tenant(
    *, slug: str, name: str, now: datetime, actor: str = OPERATOR, reason: str = ""
) -> Tenant:
    """Create a tenant. Raises SlugTaken."""
    if Tenant.objects.filter(slug=slug).exists():
        raise SlugTaken(f"the slug {slug!r} is taken", errors={"slug": "taken"})
    tenant = Tenant(slug=slug, name=name, created_at=now)
    tenant.full_clean(validate_unique=False)
    tenant.save(force_insert=True)
    audit(
        tenant_id=tenant.id, actor=actor, action="tenant.create", target=slug, now=now, name=name,
        **reasons.told(reason),
    )  # fmt: skip
    return tenant


@transaction.atomic
def rename_tenant(
    *, tenant_id: UUID, name: str, actor: str, now: datetime, reason: str = ""
) -> Tenant:
    """Give a tenant another name; its slug is in devices' consent files and stays."""
    tenant = Tenant.objects.select_for_update().get(id=tenant_id)
    before, tenant.name = tenant.name, name
    tenant.full_clean(validate_unique=False)
    tenant.save(update_fields=["name"])
    audit(
        tenant_id=tenant_id, actor=actor, action="tenant.rename", target=tenant.slug, now=now,
        before=before, after=name, **reasons.told(reason),
    )  # fmt: skip
    return tenant
