"""Which policy shares the fleet, and what each tenant may have of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from tenants.models import Tenant


class SharingPolicy(models.Model):
    """A choice of policy. Rows are never changed; the newest is active, the others its history."""

    name = models.CharField(max_length=40)
    parameters = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "sharing policies"
        get_latest_by = "id"

    def __str__(self) -> str:
        return f"{self.name} since {self.created_at:%Y-%m-%d %H:%M}"


class TenantShare(models.Model):
    """A tenant's part of the fleet, in devices at once. Without a row: weight 1 and no bounds."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="share")
    weight = models.FloatField(default=1)
    guarantee = models.PositiveIntegerField(default=0)
    ceiling = models.PositiveIntegerField(null=True, blank=True)
    updated_by = models.CharField(max_length=150)
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(weight__gt=0), name="share_weight_above_zero"),
            models.CheckConstraint(
                condition=Q(ceiling=None) | Q(ceiling__gte=F("guarantee")),
                name="share_guarantee_within_ceiling",
            ),
        ]

    def __str__(self) -> str:
        return f"share of {self.tenant_id}"
