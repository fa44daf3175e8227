"""What a person made in a tenant lasts no longer than their right to make it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from tenants.access import SCOPES_OF, WRITE_TENANT
from tenants.models import ApiToken, Invitation, Role
from tenants.services.auditing import audit
from tenants.services.tokens import revoke_token


def take_back(
    *, tenant_id: UUID, user_id: int, role: str | None, actor: str, now: datetime
) -> None:
    """Revoke the tokens and open invitations of a person that they could not make in ``role``.

    None: they are no member any more. Runs in the transaction that changed that.
    """
    may = SCOPES_OF[role] if role else frozenset()
    for token in ApiToken.objects.filter(tenant_id=tenant_id, made_by_id=user_id, revoked_at=None):
        if not may.issuperset(token.scopes):
            revoke_token(tenant_id=tenant_id, token_id=token.id, actor=actor, now=now)
    given = Invitation.objects.filter(tenant_id=tenant_id, made_by_id=user_id)
    for invitation in given.filter(accepted_at=None, revoked_at=None, expires_at__gt=now):
        is_theirs = invitation.role != Role.OWNER or role == Role.OWNER
        if WRITE_TENANT in may and is_theirs:
            continue
        still_open = Invitation.objects.filter(id=invitation.id, accepted_at=None)
        if still_open.update(revoked_at=now):
            audit(
                tenant_id=tenant_id, actor=actor, action="invitation.revoke",
                target=invitation.name, now=now,
            )  # fmt: skip
