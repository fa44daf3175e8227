"""The audit: one line for every write."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from core import origin
from tenants.models import AuditEntry

OPERATOR = "operator"
"""Who acts where nobody is signed in: the person at the server's command line."""


def audit(
    *,
    tenant_id: UUID | None,
    actor: str,
    action: str,
    target: str,
    now: datetime,
    **detail: Any,
) -> None:
    """Append to the audit, in the transaction of the change; the address is the request's.

    ``detail`` says what changed: names and numbers, never a secret. A long target is cut.
    """
    AuditEntry.objects.create(
        tenant_id=tenant_id,
        actor=actor[:150],
        action=action,
        target=target[:150],
        detail=detail,
        address=origin.get().address,
        at=now,
    )
