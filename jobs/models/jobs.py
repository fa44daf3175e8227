"""What tenants upload, and the jobs that they submit."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.ids import uuid7
from tenants.models import Tenant


class Artifact(models.Model):
    """A program or a set of parameters that a tenant uploaded, and what the check of it found."""

    class Kind(models.TextChoices):
        PROGRAM = "program"
        PARAMETERS = "parameters"
        ROUND = "round", "parameters of one round of a driven job"

    class Status(models.TextChoices):
        CHECKING = "checking"
        VALID = "valid"
        INVALID = "invalid"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    digest = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices)
    tensors = models.JSONField(
        default=dict, help_text="Name to shape and dtype: of the parameters, or that it expects"
    )
    errors = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "kind", "digest"], name="artifact_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]}"


class Job(models.Model):
    """A round-based collaborative workload of one tenant."""

    class Status(models.TextChoices):
        SUBMITTED = "submitted"
        RUNNING = "running"
        PAUSED = "paused"
        FINISHED = "finished"

    class Outcome(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"
        REJECTED = "rejected"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.SUBMITTED)
    outcome = models.CharField(max_length=12, choices=Outcome.choices, blank=True)
    reason = models.JSONField(default=dict, help_text="Why it ended or waits: code and message")
    spec = models.JSONField(help_text="Normalised")
    spec_raw = models.JSONField(help_text="As submitted")
    held = models.CharField(
        max_length=500, blank=True, help_text="Why the operator keeps it from all devices"
    )
    priority = models.SmallIntegerField(default=0)
    granted_demand = models.PositiveIntegerField(
        null=True, help_text="Devices that a train round asks for, if fewer than its spec says"
    )
    constraint_group = models.CharField(max_length=16)
    holdout_key = models.CharField(
        max_length=32, blank=True, help_text="Says which devices are held out from training"
    )
    version = models.PositiveIntegerField(default=0, help_text="Number of the newest model version")
    parameters_digest = models.CharField(max_length=64)
    parameters_size = models.PositiveBigIntegerField()
    submitted_by = models.CharField(max_length=150)
    submitted_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status="finished", finished_at__isnull=False) & ~Q(outcome="")
                | ~Q(status="finished") & Q(outcome="", finished_at__isnull=True),
                name="job_outcome_when_finished",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-id"], name="job_by_tenant"),
            models.Index(fields=["id"], condition=~Q(status="finished"), name="job_unfinished"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_driven(self) -> bool:
        """Whether rounds are started by the tenant's own program."""
        return bool(self.spec.get("driven"))
