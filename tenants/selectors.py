"""Reads of what a tenant has, over all of the platform."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection


def stored_bytes(tenant_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return the bytes that each tenant stores.

    A view that the data plane defines over its own rows, so that the control plane can ask
    without knowing the data plane.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, size_bytes FROM tenants_stored_bytes WHERE tenant_id = ANY(%s)",
            [list(tenant_ids)],
        )
        return {tenant_id: int(size_bytes) for tenant_id, size_bytes in cursor.fetchall()}


def invitation_path(secret: str) -> str:
    """Return the page at which an invitation is accepted."""
    return "/join/?" + urlencode({"invitation": secret})
