"""Which policy shares the fleet, what each tenant may have, and what is kept to explain it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from clients.models import Pool
from jobs.models import Job
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
        return f"{self.name} since {self.created_at:%Y-%m-%d %H:%M} UTC"


class TenantShare(models.Model):
    """A tenant's part of the fleet, in devices at once. Without a row: weight 1 and no bounds."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="share")
    weight = models.FloatField(default=1)
    guarantee = models.PositiveIntegerField(default=0)
    ceiling = models.PositiveIntegerField(null=True, blank=True)
    lending_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How much of the guarantee others may have meanwhile; empty is all of it",
    )
    updated_by = models.CharField(max_length=150)
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(weight__gt=0), name="share_weight_above_zero"),
            models.CheckConstraint(
                condition=Q(ceiling=None) | Q(ceiling__gte=F("guarantee")),
                name="share_guarantee_within_ceiling",
            ),
            models.CheckConstraint(
                condition=Q(lending_limit=None) | Q(lending_limit__lte=F("guarantee")),
                name="share_lends_of_its_guarantee",
            ),
        ]

    def __str__(self) -> str:
        return f"share of {self.tenant_id}"


class ShareChange(models.Model):
    """A share as it was set. Rows are never changed: the history, from which one may revert."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="share_changes")
    weight = models.FloatField()
    guarantee = models.PositiveIntegerField()
    ceiling = models.PositiveIntegerField(null=True)
    lending_limit = models.PositiveIntegerField(null=True)
    reason = models.CharField(max_length=300, blank=True)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"share of {self.tenant_id} since {self.created_at:%Y-%m-%d %H:%M} UTC"


class TenantQuota(models.Model):
    """How much a tenant may have in all. Empty is no bound; without a row nothing is bounded."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="quota")
    jobs = models.PositiveIntegerField(
        null=True, blank=True, help_text="Jobs that are admitted and have not finished"
    )
    devices = models.PositiveIntegerField(null=True, blank=True, help_text="Devices at once")
    device_hours = models.FloatField(
        null=True, blank=True, help_text="Hours of devices in a calendar month (UTC)"
    )
    stored_bytes = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Bytes of programs, parameters and model versions"
    )
    reason = models.CharField(max_length=300)
    updated_by = models.CharField(max_length=150)
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(device_hours=None) | Q(device_hours__gte=0),
                name="quota_hours_from_zero",
            ),
        ]

    def __str__(self) -> str:
        return f"quota of {self.tenant_id}"


class QuotaChange(models.Model):
    """A quota as it was set. Rows are never changed: the history, from which one may revert."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="quota_changes")
    jobs = models.PositiveIntegerField(null=True)
    devices = models.PositiveIntegerField(null=True)
    device_hours = models.FloatField(null=True)
    stored_bytes = models.PositiveBigIntegerField(null=True)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"quota of {self.tenant_id} since {self.created_at:%Y-%m-%d %H:%M} UTC"


class GatewayDrain(models.Model):
    """A gateway that the operator asked to send its devices away and end. Kept as history."""

    gateway = models.CharField(max_length=36)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.gateway} at {self.created_at:%Y-%m-%d %H:%M} UTC"


class PlanRecord(models.Model):
    """A published plan, sampled: by which rule devices were given to rounds. Kept for a day."""

    version = models.BigIntegerField(primary_key=True)
    policy = models.CharField(max_length=40)
    parameters = models.JSONField(default=dict)
    at = models.DateTimeField(db_index=True)
    summary = models.JSONField(
        default=dict, help_text="Counts, and of the first rounds their place and open slots"
    )

    def __str__(self) -> str:
        return f"plan {self.version} by {self.policy}"


class FleetMinute(models.Model):
    """Demand and supply of one minute, for what-if replays. Kept for a week."""

    at = models.DateTimeField(primary_key=True, help_text="The minute's begin")
    supply = models.JSONField(default=dict, help_text="Profile key to check-ins")
    demand = models.JSONField(
        default=dict, help_text="Rounds that opened within it, and their groups' constraints"
    )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} UTC"


class ProfileRecord(models.Model):
    """A profile that :class:`FleetMinute` names by its key: attributes, workloads and pool."""

    key = models.CharField(primary_key=True, max_length=16)
    profile = models.JSONField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key


class PoolMinute(models.Model):
    """What the devices of a pool did in one minute, counted once within it. Kept for two days.

    ``tenant`` is the pool's. ``wanted`` are slots of open rounds that no device was bound to; a
    round is counted at one of its pools, a shared one if it has any, so that sums hold.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, related_name="+")
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="minutes")
    at = models.DateTimeField(db_index=True, help_text="The minute's begin")
    devices = models.PositiveIntegerField()
    online = models.PositiveIntegerField()
    bound = models.PositiveIntegerField()
    wanted = models.PositiveIntegerField()
    by_tenant = models.JSONField(
        default=dict, help_text="Tenant to its parts of bound and of wanted"
    )
    tiers = models.JSONField(
        default=list, help_text="Of each speed tier: least CPU score, devices online and bound"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pool", "at"], name="pool_minute_once"),
        ]

    def __str__(self) -> str:
        return f"{self.pool_id} at {self.at:%Y-%m-%d %H:%M} UTC"


class WaitingJob(Job):
    """A job that has not finished, as the console explains it."""

    class Meta:
        proxy = True
