"""The one way to say for which tenant the database may show rows.

Row-level security (:mod:`tenants.walls`) compares ``tenant_id`` with the transaction's setting
``propius.tenant``. Without a scope, the app role sees nothing of any tenant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction


@contextmanager
def scope(tenant_id: UUID) -> Iterator[None]:
    """Open a transaction in which only this tenant's rows exist."""
    with _local("propius.tenant", str(tenant_id)):
        yield


@contextmanager
def system_scope() -> Iterator[None]:
    """Open a transaction that sees all tenants: sign-in, operators, counts over shared pools.

    What it returns must be safe for the caller: that is what each of its few users is for.
    """
    with _local("role", "propius_system"):
        yield


def enter(tenant_id: UUID) -> None:
    """Set the tenant for the rest of the current transaction (a request's own)."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a tenant is entered inside a transaction")
    _set("propius.tenant", str(tenant_id))


@contextmanager
def _local(name: str, value: str) -> Iterator[None]:
    with transaction.atomic():
        before = _set(name, value)
        yield
        # An error rolls the setting back with its savepoint; a success must put it back itself.
        _set(name, before)


def _set(name: str, value: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(current_setting(%s, true), ''), set_config(%s, %s, true)",
            [name, name, value],
        )
        before: str = cursor.fetchone()[0]
    return before
