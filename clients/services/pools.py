"""Pools: shared ones of the operator, private ones of a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from clients.models import Pool
from core import reasons
from core.errors import Conflict, Invalid, NotFound
from tenants import services as tenant_services


class PoolNameTaken(Conflict):
    """The tenant (or the operator) has a pool of this name."""

    code = "pool_name_taken"


class PoolInUse(Conflict):
    """Devices are in the pool."""

    code = "pool_in_use"


@transaction.atomic
def create_pool(
    *,
    name: str,
    tenant_id: UUID | None,
    now: datetime,
    actor: str = tenant_services.OPERATOR,
    reason: str = "",
) -> Pool:
    """Create a pool, shared if it has no tenant. Raises Invalid, PoolNameTaken."""
    _check_name(name)
    with _taken(name):
        pool = Pool.objects.create(name=name, tenant_id=tenant_id, created_at=now)
    tenant_services.audit(
        tenant_id=tenant_id, actor=actor, action="pool.create", target=name, now=now,
        pool=str(pool.id), **reasons.told(reason),
    )  # fmt: skip
    return pool


@transaction.atomic
def rename_pool(*, pool_id: UUID, name: str, actor: str, now: datetime, reason: str = "") -> Pool:
    """Give a pool another name. Raises NotFound, Invalid, PoolNameTaken."""
    _check_name(name)
    pool = _locked(pool_id)
    before, pool.name = pool.name, name
    with _taken(name):
        pool.save(update_fields=["name"])
    tenant_services.audit(
        tenant_id=pool.tenant_id, actor=actor, action="pool.rename", target=name, now=now,
        pool=str(pool_id), before=before, after=name, **reasons.told(reason),
    )  # fmt: skip
    return pool


@transaction.atomic
def delete_pool(*, pool_id: UUID, actor: str, now: datetime, reason: str = "") -> None:
    """Delete a pool without devices, its enrolment tokens and what was asked of its software.

    Raises NotFound, PoolInUse.
    """
    pool = _locked(pool_id)
    try:
        with transaction.atomic():
            pool.delete()
    except ProtectedError:
        raise PoolInUse(f"the pool {pool.name!r} has devices") from None
    tenant_services.audit(
        tenant_id=pool.tenant_id, actor=actor, action="pool.delete", target=pool.name, now=now,
        pool=str(pool_id), **reasons.told(reason),
    )  # fmt: skip


def _locked(pool_id: UUID) -> Pool:
    pool = Pool.objects.select_for_update(no_key=True).filter(id=pool_id).first()
    if pool is None:
        raise NotFound(f"no pool {pool_id}")
    return pool


def _check_name(name: str) -> None:
    try:
        validate_slug(name)
    except ValidationError:
        raise Invalid(
            f"a pool cannot be named {name!r}",
            errors={"name": "letters, digits, _ and - are allowed"},
        ) from None


@contextmanager
def _taken(name: str) -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise PoolNameTaken(
            f"there is a pool {name!r}", errors={"name": f"{name!r} is taken"}
        ) from None
