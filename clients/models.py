"""Pools, devices, enrolment tokens and the schema of attributes."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.ids import uuid7
from tenants.models import Tenant


class Pool(models.Model):
    """A set of devices: shared (the operator's, no tenant) or private to a tenant."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.SlugField(max_length=60)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="pool_name_in_tenant"),
            models.UniqueConstraint(
                fields=["name"], condition=Q(tenant=None), name="pool_name_if_shared"
            ),
        ]

    @property
    def is_shared(self) -> bool:
        """Tell whether every tenant may use the pool."""
        return self.tenant_id is None

    def __str__(self) -> str:
        return self.name


class AttributeDefinition(models.Model):
    """One public attribute that devices may tell and constraints may name."""

    class Type(models.TextChoices):
        NUMBER = "number"
        STRING = "string"
        BOOLEAN = "boolean"

    name = models.CharField(primary_key=True, max_length=60)
    type = models.CharField(max_length=10, choices=Type.choices)
    unit = models.CharField(max_length=20, blank=True)
    description = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.name


class EnrolmentToken(models.Model):
    """Lets devices join a pool, a limited number of times until a given time."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True)
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="enrolment_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    start = models.CharField(max_length=12)
    max_uses = models.PositiveIntegerField()
    uses = models.PositiveIntegerField(default=0)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(uses__lte=models.F("max_uses")), name="enrolment_uses_within_max"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"


class Device(models.Model):
    """An edge machine in one pool, known by its public key. ``tenant`` is its pool's."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        REVOKED = "revoked"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="devices")
    name = models.CharField(max_length=100)
    public_key = models.CharField(max_length=64, unique=True, help_text="Ed25519, hex")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    sdk = models.CharField(max_length=100, blank=True)
    attributes = models.JSONField(default=dict)
    workloads = models.JSONField(default=dict)
    enrolled_at = models.DateTimeField()
    connected_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["pool", "-seen_at"], name="device_by_pool"),
        ]

    def __str__(self) -> str:
        return self.name


class SdkRequirement(models.Model):
    """Devices must run a version or a newer one. Rows are never changed; the newest is in force.

    The newest for its pool and software, that is. ``steps`` is a list of (percent of the devices,
    by when), each percent above the one before; without one it has come to nobody.
    """

    pool = models.ForeignKey(
        Pool, on_delete=models.CASCADE, null=True, blank=True, related_name="sdk_requirements"
    )
    software = models.CharField(max_length=60, default="propius-python")
    minimum = models.CharField(max_length=40)
    steps = models.JSONField(default=list)
    grace_days = models.FloatField(
        default=7, help_text="How long devices have from when a step comes to them"
    )
    paused = models.BooleanField(default=False)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "required software"
        verbose_name_plural = "required software"

    def __str__(self) -> str:
        return f"{self.software} {self.minimum} since {self.created_at:%Y-%m-%d %H:%M} UTC"

    @property
    def percent(self) -> float:
        """Return the part of the devices that it has come to."""
        return float(self.steps[-1][0]) if self.steps else 0.0


class AttributeChange(models.Model):
    """A line of the attribute schema as it was set or taken out. Rows stay: the history."""

    name = models.CharField(max_length=60)
    type = models.CharField(max_length=10, choices=AttributeDefinition.Type.choices)
    unit = models.CharField(max_length=20, blank=True)
    description = models.CharField(max_length=200)
    removed = models.BooleanField(default=False)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} since {self.created_at:%Y-%m-%d %H:%M} UTC"


class PoolCensus(models.Model):
    """How many active devices of a pool had which value of each public attribute.

    ``attributes`` is by name a list of (power of two, exact value, count): one of the first two.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True)
    pool = models.OneToOneField(Pool, on_delete=models.CASCADE, related_name="census")
    counted_at = models.DateTimeField()
    attributes = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.pool_id} at {self.counted_at}"
