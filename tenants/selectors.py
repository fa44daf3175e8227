"""Reads of what a tenant has, over all of the platform."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.db import connection


def stored_bytes(tenant_id: UUID) -> int:
    """Return the bytes that a tenant stores.

    A view that the data plane defines over its own rows, so that the control plane can ask
    without knowing the data plane.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT size_bytes FROM tenants_stored_bytes WHERE tenant_id = %s", [tenant_id]
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def invitation_path(secret: str) -> str:
    """Return the page at which an invitation is accepted."""
    return "/join/?" + urlencode({"invitation": secret})
