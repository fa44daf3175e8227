"""Who belongs to a tenant, and in which role."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from core import reasons
from core.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import Member, Role, Tenant
from tenants.services import belongings
from tenants.services.auditing import OPERATOR, audit


class MemberUnknown(NotFound):
    """No such member in this tenant."""

    code = "member_unknown"


class OwnersOnly(Forbidden):
    """Only an owner makes, demotes or removes an owner."""

    code = "owners_only"


class LastOwner(Conflict):
    """A tenant without an owner could not be given back to anybody."""

    code = "last_owner"


@transaction.atomic
def add_member(
    *,
    tenant: Tenant,
    user: User,
    role: str,
    now: datetime,
    actor: str = OPERATOR,
    reason: str = "",
) -> Member:
    """Make ``user`` a member, or change the role of a present one as :func:`change_role` does."""
    check_role(role)
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
        now=now, before=before, after=role, **reasons.told(reason),
    )  # fmt: skip
    _take_back(member, role, actor, now)
    return member


@transaction.atomic
def change_role(*, member_id: int, role: str, by_role: str, actor: str, now: datetime) -> Member:
    """Give a member another role; tokens and invitations of theirs that it could not make end.

    Raises MemberUnknown, OwnersOnly and LastOwner.
    """
    check_role(role)
    member = _changeable(member_id, by_role=by_role, keeps_owner=role == Role.OWNER)
    require_owner(role, by_role=by_role)
    before, member.role = member.role, role
    if before != role:
        member.save(update_fields=["role"])
        audit(
            tenant_id=member.tenant_id, actor=actor, action="member.set",
            target=member.user.get_username(), now=now, before=before, after=role,
        )  # fmt: skip
        _take_back(member, role, actor, now)
    return member


@transaction.atomic
def remove_member(
    *, member_id: int, actor: str, now: datetime, by_role: str | None = None, reason: str = ""
) -> None:
    """Take a member out of its tenant; open pages of theirs close within half a minute.

    Their tokens and open invitations end at once, also those made with their tokens. An operator
    (``by_role`` None) may remove anybody. Raises MemberUnknown, OwnersOnly, LastOwner.
    """
    if by_role is None:
        member = _found(member_id)
    else:
        member = _changeable(member_id, by_role=by_role, keeps_owner=False)
    member.delete()
    audit(
        tenant_id=member.tenant_id, actor=actor, action="member.remove",
        target=member.user.get_username(), now=now, before=member.role,
        **reasons.told(reason),
    )  # fmt: skip
    _take_back(member, None, actor, now)


def check_role(role: str) -> None:
    """Raise Invalid unless there is such a role."""
    if role not in Role.values:
        raise Invalid(
            f"role {role!r} is not allowed",
            errors={"role": f"{role!r}; allowed are {', '.join(Role.values)}"},
        )


def require_owner(role: str, *, by_role: str) -> None:
    """Raise OwnersOnly if ``role`` is an owner's and who acts is none."""
    if role == Role.OWNER and by_role != Role.OWNER:
        raise OwnersOnly("only an owner makes, changes or removes an owner")


def _take_back(member: Member, role: str | None, actor: str, now: datetime) -> None:
    belongings.take_back(
        tenant_id=member.tenant_id, user_id=member.user_id, role=role, actor=actor, now=now
    )


def _found(member_id: int) -> Member:
    member = Member.objects.select_related("user").filter(id=member_id).first()
    if member is None:
        raise MemberUnknown(f"no member {member_id}")
    return member


def _changeable(member_id: int, *, by_role: str, keeps_owner: bool) -> Member:
    member = _found(member_id)
    require_owner(member.role, by_role=by_role)
    # Two owners who demote each other at once must not both succeed.
    owners = Member.objects.select_for_update().filter(tenant_id=member.tenant_id, role=Role.OWNER)
    others = [one.id for one in owners.order_by("id") if one.id != member.id]
    if member.role == Role.OWNER and not keeps_owner and not others:
        raise LastOwner(f"{member.user.get_username()} is the only owner; make another one first")
    return member
