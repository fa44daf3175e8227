"""Reads of what a tenant has, over all of the platform."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from tenants.models import AuditEntry


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


def audit_entries(*, asked: str = "", action: str = "") -> QuerySet[AuditEntry]:
    """Return the audit, newest first: whose actor or target holds ``asked``, of one action."""
    rows = AuditEntry.objects.order_by("-id")
    if asked:
        rows = rows.filter(Q(target__icontains=asked) | Q(actor__icontains=asked))
    return rows.filter(action=action) if action else rows


def invitation_path(secret: str) -> str:
    """Return the page at which an invitation is accepted."""
    return "/join/?" + urlencode({"invitation": secret})
