"""Scopes: what may be done, and which role may do it. The only place that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from core.errors import Forbidden
from tenants.models import Role

READ_JOBS = "jobs:read"
WRITE_JOBS = "jobs:write"
READ_MODELS = "models:read"
WRITE_MODELS = "models:write"
READ_DEVICES = "devices:read"
WRITE_DEVICES = "devices:write"
READ_TENANT = "tenant:read"
WRITE_TENANT = "tenant:write"

_VIEWER = (READ_JOBS, READ_MODELS, READ_DEVICES, READ_TENANT)
_SUBMITTER = (*_VIEWER, WRITE_JOBS, WRITE_MODELS)
_ADMIN = (*_SUBMITTER, WRITE_DEVICES, WRITE_TENANT)

SCOPES_OF: dict[str, frozenset[str]] = {
    Role.VIEWER: frozenset(_VIEWER),
    Role.SUBMITTER: frozenset(_SUBMITTER),
    Role.ADMIN: frozenset(_ADMIN),
    Role.OWNER: frozenset(_ADMIN),
}
ALL_SCOPES = tuple(sorted(_ADMIN))


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, in the name of which tenant, and what it may do."""

    name: str
    tenant_id: UUID
    tenant_slug: str
    scopes: frozenset[str]
    role: str = ""
    user_id: int | None = None
    """The person who asks, or who made the token that does."""
    is_authenticated: bool = True
    is_active: bool = True

    @property
    def pk(self) -> str:
        """Key for throttling and logs."""
        return f"{self.tenant_id}:{self.name}"

    def may(self, scope: str) -> bool:
        """Tell whether this principal holds ``scope``."""
        return scope in self.scopes


def acting_role(principal: Principal) -> str:
    """Return the role in which someone changes members: a token is at most an admin."""
    return principal.role or Role.ADMIN


def require_within(principal: Principal, scopes: Iterable[str], what: str) -> None:
    """Raise Forbidden unless who asks has all that ``what`` would give."""
    above = sorted(set(scopes) - principal.scopes)
    if above:
        raise Forbidden(f"{what} cannot have scopes that you lack: {', '.join(above)}")
