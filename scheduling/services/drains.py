"""Gateways that the operator asks to end."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from core import hints, reasons
from core.errors import Invalid
from scheduling import supply
from scheduling.models import GatewayDrain
from tenants import services as tenant_services


class DrainInvalid(Invalid):
    """No such gateway lives, or no reason."""

    code = "drain_invalid"


@transaction.atomic
def drain_gateway(*, gateway: str, author: str, reason: str, now: datetime) -> GatewayDrain:
    """Have a gateway send its devices away and end, as TERM does. Raises DrainInvalid."""
    errors = {}
    living = supply.gateways()
    if gateway not in living:
        errors["gateway"] = f"{gateway!r}; living are {', '.join(living) or 'none'}"
    errors |= reasons.faults(reason)
    DrainInvalid.check(errors)
    asked = GatewayDrain.objects.create(
        gateway=gateway, reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=None, actor=author, action="gateway.drain", target=gateway, now=now,
        reason=reason, sockets=living[gateway],
    )  # fmt: skip
    hints.to_gateways({"drain": gateway})
    return asked
