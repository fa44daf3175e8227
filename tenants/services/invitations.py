"""Invitations: a link, shown once, with which one person joins a tenant in a given role."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from core.errors import Conflict, Invalid, NotFound
from tenants.models import Invitation, Member, Role
from tenants.scopes import system_scope
from tenants.services.auditing import audit
from tenants.services.members import add_member, check_role, require_owner
from tenants.services.tokens import digest_of

INVITATION_START = "ppi_"
MAX_VALID = timedelta(days=30)


class InvitationUnknown(NotFound):
    """No such invitation."""

    code = "invitation_unknown"


class InvitationOver(Conflict):
    """It was accepted, revoked, or has expired."""

    code = "invitation_over"


@transaction.atomic
def create_invitation(
    *,
    tenant_id: UUID,
    name: str,
    role: str,
    expires_at: datetime,
    by_role: str,
    actor: str,
    now: datetime,
    made_by: int | None = None,
) -> tuple[Invitation, str]:
    """Invite somebody; returns the row and the secret of the link, which is not kept.

    ``made_by`` is the person whose leaving ends it. Raises Invalid and OwnersOnly.
    """
    check_role(role)
    require_owner(role, by_role=by_role)
    if not now < expires_at <= now + MAX_VALID:
        raise Invalid(
            "an invitation is valid for at most 30 days",
            errors={"expires_at": f"{expires_at.isoformat()}; within 30 days from now is allowed"},
        )
    secret = INVITATION_START + secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        tenant_id=tenant_id,
        name=name,
        role=role,
        digest=digest_of(secret),
        created_by=actor,
        made_by_id=made_by,
        created_at=now,
        expires_at=expires_at,
    )
    audit(
        tenant_id=tenant_id, actor=actor, action="invitation.create", target=name, now=now,
        role=role, expires_at=expires_at.isoformat(),
    )  # fmt: skip
    return invitation, secret


@transaction.atomic
def revoke_invitation(*, invitation_id: UUID, actor: str, now: datetime) -> None:
    """Make the link useless; again is the same. Raises InvitationUnknown and InvitationOver."""
    invitation = Invitation.objects.select_for_update().filter(id=invitation_id).first()
    if invitation is None:
        raise InvitationUnknown(f"no invitation {invitation_id}")
    if invitation.accepted_at:
        raise InvitationOver(f"{invitation.accepted_by} has accepted it; remove the member instead")
    if Invitation.objects.filter(id=invitation_id, revoked_at=None).update(revoked_at=now):
        audit(
            tenant_id=invitation.tenant_id, actor=actor, action="invitation.revoke",
            target=invitation.name, now=now,
        )  # fmt: skip


def invitation_of(*, secret: str, now: datetime) -> Invitation:
    """Find what a link invites to, across the walls: who holds it belongs to no tenant yet.

    Raises InvitationUnknown, with the same text whatever is wrong with the link.
    """
    with system_scope():
        found = (
            Invitation.objects.select_related("tenant")
            .filter(digest=digest_of(secret), revoked_at=None, accepted_at=None, expires_at__gt=now)
            .first()
        )
    if found is None:
        raise InvitationUnknown(
            "this invitation is unknown, used, revoked or expired; ask who invited you for another"
        )
    return found


def accept_invitation(*, secret: str, user: User, now: datetime) -> Member:
    """Make ``user`` a member as invited; a member of a higher role keeps it.

    Raises InvitationUnknown.
    """
    with system_scope():
        found = invitation_of(secret=secret, now=now)
        claimed = Invitation.objects.filter(id=found.id, accepted_at=None, revoked_at=None)
        if not claimed.update(accepted_at=now, accepted_by=user.get_username()):
            raise InvitationUnknown("this invitation was used a moment ago")
        audit(
            tenant_id=found.tenant_id, actor=user.get_username(), action="invitation.accept",
            target=found.name, now=now, role=found.role,
        )  # fmt: skip
        present = Member.objects.filter(tenant_id=found.tenant_id, user=user).first()
        ranks = list(Role.values)
        if present is not None and ranks.index(present.role) <= ranks.index(found.role):
            return present
        return add_member(
            tenant=found.tenant, user=user, role=found.role, actor=user.get_username(), now=now
        )


def join(*, secret: str, username: str, password: str, now: datetime) -> User:
    """Make an account for who was invited, and the member. Raises InvitationUnknown and Invalid."""
    with system_scope():
        invitation_of(secret=secret, now=now)
        user = User(username=username)
        _check_account(user, password)
        user.set_password(password)
        user.save(force_insert=True)
        accept_invitation(secret=secret, user=user, now=now)
        return user


def _check_account(user: User, password: str) -> None:
    errors = {}
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as fault:
        errors["username"] = " ".join(fault.messages)
    if User.objects.filter(username__iexact=user.username).exists():
        errors["username"] = "somebody has this name; choose another, or sign in first"
    try:
        validate_password(password, user)
    except ValidationError as fault:
        errors["password"] = " ".join(fault.messages)
    if errors:
        raise Invalid("the account cannot be made", errors=errors)
