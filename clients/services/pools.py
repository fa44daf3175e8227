"""Pools: shared ones of the operator, private ones of a tenant."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import IntegrityError, transaction

from clients.models import Pool
from core.errors import Conflict, Invalid


class PoolNameTaken(Conflict):
    """The tenant (or the operator) has a pool of this name."""

    code = "pool_name_taken"


@transaction.atomic
def create_pool(*, name: str, tenant_id: UUID | None, now: datetime) -> Pool:
    """Create a pool, shared if it has no tenant. Raises Invalid, PoolNameTaken."""
    try:
        validate_slug(name)
    except ValidationError:
        raise Invalid(
            f"a pool cannot be named {name!r}",
            errors={"name": "letters, digits, _ and - are allowed"},
        ) from None
    try:
        with transaction.atomic():
            return Pool.objects.create(name=name, tenant_id=tenant_id, created_at=now)
    except IntegrityError:
        raise PoolNameTaken(
            f"there is a pool {name!r}", errors={"name": f"{name!r} is taken"}
        ) from None
