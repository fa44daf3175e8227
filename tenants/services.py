"""Every write to tenants, members, tokens and the audit."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from core import origin
from core.errors import Conflict, Invalid, NotFound
from tenants.access import ALL_SCOPES
from tenants.models import ApiToken, AuditEntry, Member, Role, Tenant

TOKEN_START = "ppt_"
OPERATOR = "operator"
"""Who acts where nobody is signed in: the person at the server's command line."""


class SlugTaken(Conflict):
    """Another tenant has this slug."""

    code = "slug_taken"


class UnknownScope(Invalid):
    """A scope that does not exist."""

    code = "unknown_scope"


class TokenUnknown(NotFound):
    """No such token in this tenant."""

    code = "token_unknown"


def digest_of(secret: str) -> str:
    """Return what is stored of a secret. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def create_tenant(*, slug: str, name: str, now: datetime, actor: str = OPERATOR) -> Tenant:
    """Create a tenant. Raises SlugTaken."""
    if Tenant.objects.filter(slug=slug).exists():
        raise SlugTaken(f"the slug {slug!r} is taken", errors={"slug": "taken"})
    tenant = Tenant(slug=slug, name=name, created_at=now)
    tenant.full_clean(validate_unique=False)
    tenant.save(force_insert=True)
    audit(tenant_id=tenant.id, actor=actor, action="tenant.create", target=slug, now=now, name=name)
    return tenant


@transaction.atomic
def rename_tenant(*, tenant_id: UUID, name: str, actor: str, now: datetime) -> Tenant:
    """Give a tenant another name; its slug is in devices' consent files and stays."""
    tenant = Tenant.objects.select_for_update().get(id=tenant_id)
    before, tenant.name = tenant.name, name
    tenant.full_clean(validate_unique=False)
    tenant.save(update_fields=["name"])
    audit(
        tenant_id=tenant_id, actor=actor, action="tenant.rename", target=tenant.slug, now=now,
        before=before, after=name,
    )  # fmt: skip
    return tenant


@transaction.atomic
def add_member(
    *, tenant: Tenant, user: User, role: str, now: datetime, actor: str = OPERATOR
) -> Member:
    """Make ``user`` a member, or change the role of a present one."""
    if role not in Role.values:
        raise Invalid(
            f"role {role!r} is not allowed",
            errors={"role": f"{role!r}; allowed are {', '.join(Role.values)}"},
        )
    present = Member.objects.filter(tenant=tenant, user=user).values_list("role", flat=True)
    before = present.first()
    member, _ = Member.objects.update_or_create(
        tenant=tenant,
        user=user,
        defaults={"role": role},
        create_defaults={"role": role, "created_at": now},
    )
    audit(
        tenant_id=tenant.id, actor=actor, action="member.set", target=user.get_username(),
        now=now, before=before, after=role,
    )  # fmt: skip
    return member


@transaction.atomic
def remove_member(*, member_id: int, actor: str, now: datetime) -> None:
    """Take a member out of its tenant; open pages of theirs close within half a minute."""
    member = Member.objects.select_related("user").filter(id=member_id).first()
    if member is None:
        raise NotFound(f"no member {member_id}")
    member.delete()
    audit(
        tenant_id=member.tenant_id, actor=actor, action="member.remove",
        target=member.user.get_username(), now=now, before=member.role,
    )  # fmt: skip


@transaction.atomic
def create_token(
    *,
    tenant_id: UUID,
    name: str,
    scopes: Iterable[str] | None,
    created_by: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create an API token; returns its row and the secret, which is not kept.

    Raises UnknownScope.
    """
    wanted = sorted(set(ALL_SCOPES if scopes is None else scopes))
    unknown = [scope for scope in wanted if scope not in ALL_SCOPES]
    if unknown:
        raise UnknownScope(
            f"unknown scopes {', '.join(unknown)}",
            errors={"scopes": f"{unknown}; allowed are {', '.join(ALL_SCOPES)}"},
        )
    secret = TOKEN_START + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        tenant_id=tenant_id,
        name=name,
        digest=digest_of(secret),
        start=secret[:8],
        scopes=wanted,
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
    )
    audit(
        tenant_id=tenant_id, actor=created_by, action="token.create", target=name, now=now,
        token=str(token.id), scopes=wanted, expires_at=expires_at and expires_at.isoformat(),
    )  # fmt: skip
    return token, secret


@transaction.atomic
def revoke_token(*, tenant_id: UUID, token_id: UUID, actor: str, now: datetime) -> None:
    """Revoke a token at once; again is the same. Raises TokenUnknown."""
    token = ApiToken.objects.filter(tenant_id=tenant_id, id=token_id).first()
    if token is None:
        raise TokenUnknown(f"no token {token_id}")
    if ApiToken.objects.filter(id=token_id, revoked_at=None).update(revoked_at=now):
        audit(
            tenant_id=tenant_id, actor=actor, action="token.revoke", target=token.name, now=now,
            token=str(token_id),
        )  # fmt: skip


def audit(
    *,
    tenant_id: UUID | None,
    actor: str,
    action: str,
    target: str,
    now: datetime,
    **detail: Any,
) -> None:
    """Append to the audit, in the transaction of the change; the address is the request's.

    ``detail`` says what changed: names and numbers, never a secret. A long target is cut.
    """
    AuditEntry.objects.create(
        tenant_id=tenant_id,
        actor=actor[:150],
        action=action,
        target=target[:150],
        detail=detail,
        address=origin.get().address,
        at=now,
    )
