"""API tokens: made once, shown once, revoked at once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from core.errors import Invalid, NotFound
from tenants.access import ALL_SCOPES
from tenants.models import ApiToken
from tenants.services.auditing import audit

TOKEN_START = "ppt_"


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
def create_token(
    *,
    tenant_id: UUID,
    name: str,
    scopes: Iterable[str] | None,
    created_by: str,
    now: datetime,
    expires_at: datetime | None = None,
    made_by: int | None = None,
) -> tuple[ApiToken, str]:
    """Create an API token; returns its row and the secret, which is not kept.

    ``made_by`` is the person whose leaving ends it. Raises UnknownScope.
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
        made_by_id=made_by,
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
