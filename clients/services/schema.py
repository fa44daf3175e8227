"""The attribute schema: what devices may tell and constraints may name, and how it came to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from clients.models import AttributeChange, AttributeDefinition
from core import reasons
from core.errors import Invalid
from tenants import services as tenant_services

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


class AttributeInvalid(Invalid):
    """No name or type that the schema can have, or no reason."""

    code = "attribute_invalid"


@transaction.atomic
def define_attribute(
    *, name: str, kind: str, unit: str, description: str, reason: str, author: str, now: datetime
) -> AttributeDefinition:
    """Let devices tell an attribute, or change what it is. Raises AttributeInvalid.

    What devices have told stays until each tells it anew.
    """
    errors = reasons.faults(reason)
    if not _NAME.fullmatch(name):
        errors["name"] = f"{name!r}; a letter, then letters, digits and _ (a to z) are allowed"
    if kind not in AttributeDefinition.Type.values:
        errors["type"] = f"{kind!r}; allowed are {', '.join(AttributeDefinition.Type.values)}"
    AttributeInvalid.check(errors)
    values = {"type": kind, "unit": unit, "description": description}
    old = AttributeDefinition.objects.filter(name=name).values(*values).first()
    row, _ = AttributeDefinition.objects.update_or_create(name=name, defaults=values)
    _note(row, old, removed=False, reason=reason, author=author, now=now)
    return row


@transaction.atomic
def remove_attribute(*, name: str, reason: str, author: str, now: datetime) -> None:
    """Let devices tell an attribute no more: their next hello with it is refused by name.

    Raises AttributeInvalid.
    """
    AttributeInvalid.check(reasons.faults(reason))
    row = AttributeDefinition.objects.get(name=name)
    _note(row, None, removed=True, reason=reason, author=author, now=now)
    row.delete()


def revert_attribute(*, change_id: int, author: str, now: datetime) -> AttributeChange:
    """Have an attribute again as it was at a line of the history; out, if it was taken out."""
    old = AttributeChange.objects.get(id=change_id)
    reason = reasons.of_revert("schema", old)
    if old.removed:
        if AttributeDefinition.objects.filter(name=old.name).exists():
            remove_attribute(name=old.name, reason=reason, author=author, now=now)
    else:
        define_attribute(
            name=old.name, kind=old.type, unit=old.unit, description=old.description,
            reason=reason, author=author, now=now,
        )  # fmt: skip
    return old


def _note(
    row: AttributeDefinition,
    old: Mapping[str, str] | None,
    *,
    removed: bool,
    reason: str,
    author: str,
    now: datetime,
) -> None:
    told = {"type": row.type, "unit": row.unit, "description": row.description}
    AttributeChange.objects.create(
        name=row.name, **told, removed=removed, reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=None, actor=author, action="attribute.remove" if removed else "attribute.set",
        target=row.name, now=now, reason=reason, **told, **reasons.before(old),
    )  # fmt: skip
