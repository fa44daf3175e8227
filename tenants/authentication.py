"""Who asks: an API token, or a signed-in member acting for one tenant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from core.errors import Forbidden, NotAuthenticated
from tenants import services
from tenants.access import SCOPES_OF, Principal
from tenants.models import ApiToken, Member
from tenants.scopes import system_scope

SESSION_TENANT = "tenant"
_USED_AT_STEP = timedelta(minutes=1)


class BadToken(NotAuthenticated):
    """A bearer token that is unknown, expired or revoked."""

    code = "bad_token"


class TenantNotChosen(Forbidden):
    """Signed in, but no longer a member of the tenant that was chosen."""

    code = "tenant_not_chosen"


# Each call asks this: the ORM takes longer to write it than Postgres to answer it.
_TOKEN = """
    SELECT token.*, tenant.slug AS tenant_slug
    FROM tenants_apitoken token JOIN tenants_tenant tenant ON tenant.id = token.tenant_id
    WHERE token.digest = %s AND token.revoked_at IS NULL
"""


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer ppt_…``."""

    def authenticate(self, request: Request) -> tuple[Principal, ApiToken] | None:
        """Return the principal of the token; None without a bearer header. Raises BadToken."""
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        return authenticate_token(secret=secret.strip(), now=timezone.now())

    def authenticate_header(self, request: Request) -> str:
        """Challenge of a 401."""
        return 'Bearer realm="propius"'


class MemberSessionAuthentication(SessionAuthentication):
    """A signed-in member, acting for the tenant chosen in the session; with CSRF protection."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        """Return the member's principal, or None if nobody is signed in or has no tenant."""
        found = super().authenticate(request)
        if found is None:
            return None
        member = acting_member(found[0], request._request.session)
        return (principal_of(member), None) if member else None


class _TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenants.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class _SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenants.authentication.MemberSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def authenticate_token(*, secret: str, now: datetime) -> tuple[Principal, ApiToken]:
    """Find the token. Raises BadToken; the text is the same whatever is wrong."""
    with system_scope():
        rows: Iterable[Any] = ApiToken.objects.raw(_TOKEN, [services.digest_of(secret)])
        token = next(iter(rows), None)
        if token is None or (token.expires_at and token.expires_at <= now):
            raise BadToken(
                "the token is unknown, expired or revoked; "
                "an admin makes one with POST /api/v1/tokens"
            )
        if token.last_used_at is None or now - token.last_used_at > _USED_AT_STEP:
            ApiToken.objects.filter(id=token.id).update(last_used_at=now)
    principal = Principal(
        name=f"token {token.name}",
        tenant_id=token.tenant_id,
        tenant_slug=token.tenant_slug,
        scopes=frozenset(token.scopes),
        user_id=token.made_by_id,
    )
    return principal, token


def still_may(principal: Principal, token: ApiToken | None, scope: str, *, now: datetime) -> bool:
    """Tell whether who was authenticated may still use ``scope``; asked during long answers."""
    with system_scope():
        if token is not None:
            lasts = Q(expires_at=None) | Q(expires_at__gt=now)
            return ApiToken.objects.filter(lasts, id=token.id, revoked_at=None).exists()
        member = Member.objects.filter(
            tenant_id=principal.tenant_id, user__username=principal.name, user__is_active=True
        ).first()
        return member is not None and scope in SCOPES_OF[member.role]


def memberships(user: User) -> list[Member]:
    """Return all memberships of a user, the oldest first."""
    with system_scope():
        rows = Member.objects.select_related("tenant", "user").filter(user=user)
        return list(rows.order_by("id"))


def member_of(user: User, chosen: str | None) -> Member | None:
    """Return the membership in the chosen tenant; if none was ever chosen, the user's first."""
    present = memberships(user)
    if chosen is None:
        return present[0] if present else None
    return next((one for one in present if str(one.tenant_id) == chosen), None)


def acting_member(user: User, session: SessionBase) -> Member | None:
    """Return the member that a session acts as; None if the user belongs to no tenant.

    Raises TenantNotChosen: removed from the chosen tenant, nobody acts for another one unasked.
    """
    chosen = session.get(SESSION_TENANT)
    member = member_of(user, chosen)
    if member is not None and chosen is None:
        # From now on it is the chosen one, and not whichever comes first later.
        session[SESSION_TENANT] = str(member.tenant_id)
    if member is None and memberships(user):
        raise TenantNotChosen("you are no longer a member of the chosen tenant; choose another")
    return member


def principal_of(member: Member) -> Principal:
    """Return the principal of a member."""
    return Principal(
        name=member.user.get_username(),
        tenant_id=UUID(str(member.tenant_id)),
        tenant_slug=member.tenant.slug,
        scopes=SCOPES_OF[member.role],
        role=member.role,
        user_id=member.user_id,
    )
