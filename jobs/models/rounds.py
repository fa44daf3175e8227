"""The rounds of jobs, and the devices bound to them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from clients.models import Device
from core.ids import uuid7
from jobs.models.jobs import Job
from tenants.models import Tenant


class Round(models.Model):
    """One iteration of a job: ``(job, number, attempt, kind)`` with a demand.

    ``target`` devices may be bound at once (demand × over-selection); ``assigned`` counts those
    bound or reported, ``reported`` the accepted reports: with those that were ``set_aside`` after
    they had been accepted, it gives each its sequence number.

    A round of an asynchronous job has a ``concurrency`` and is a buffer: ``demand`` is the size of
    the buffer, and ``target`` grows with each report, so that the slot is open again. The next one
    opens as this one closes, and ``base_version`` moves with the job's version until it is folded.
    """

    class Kind(models.TextChoices):
        TRAIN = "train"
        EVALUATE = "evaluate"

    class Status(models.TextChoices):
        SELECTING = "selecting"
        EXECUTING = "executing"
        AGGREGATING = "aggregating"
        FINISHED = "finished"

    class Outcome(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"
        ABANDONED = "abandoned"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.SELECTING)
    outcome = models.CharField(max_length=12, choices=Outcome.choices, blank=True)
    reason = models.JSONField(default=dict)
    demand = models.PositiveIntegerField()
    target = models.PositiveIntegerField()
    quorum = models.PositiveIntegerField()
    concurrency = models.PositiveIntegerField(
        null=True, help_text="Devices at work at once, of an asynchronous job"
    )
    assigned = models.PositiveIntegerField(default=0)
    reported = models.PositiveIntegerField(default=0)
    lost = models.PositiveIntegerField(default=0, help_text="Declined, failed or expired")
    set_aside = models.PositiveIntegerField(
        default=0, help_text="Reports that counted until their updates were found rotten"
    )
    endings = models.JSONField(
        null=True,
        help_text="How its assignments ended, as [status, code, count], once their rows have gone",
    )
    extensions = models.PositiveIntegerField(default=0)
    base_version = models.PositiveIntegerField()
    base_digest = models.CharField(max_length=64)
    base_size = models.PositiveBigIntegerField()
    seed = models.BigIntegerField()
    metrics = models.JSONField(default=dict)
    selection_s = models.FloatField()
    deadline_s = models.FloatField()
    opened_at = models.DateTimeField()
    selection_ends_at = models.DateTimeField()
    executing_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "kind", "number", "attempt"], name="round_once"),
            models.UniqueConstraint(
                fields=["job"],
                condition=Q(kind="train", concurrency=None) & ~Q(status="finished"),
                name="round_one_train_open",
            ),
            models.UniqueConstraint(
                fields=["job"],
                condition=Q(kind="train", status__in=["selecting", "executing"]),
                name="round_one_buffer_open",
            ),
            models.CheckConstraint(
                condition=Q(assigned__lte=F("target")), name="round_assigned_within_target"
            ),
            models.CheckConstraint(
                condition=Q(reported__lte=F("assigned")), name="round_reported_within_assigned"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status"], condition=~Q(status="finished"), name="round_open"),
            models.Index(fields=["closed_at"], name="round_by_close"),
            models.Index(fields=["finished_at"], name="round_by_end"),
            models.Index(
                fields=["finished_at"], condition=Q(endings__isnull=True), name="round_remembered"
            ),
        ]

    @property
    def last_sequence(self) -> int:
        """The sequence number that was given last."""
        return self.reported + self.set_aside

    def __str__(self) -> str:
        return f"{self.kind} round {self.number}.{self.attempt} of {self.job_id}"


class Assignment(models.Model):
    """One device bound to one round, with a lease.

    Of an asynchronous job it has the version that its device began from, and goes over to the next
    round when its own closes. Else all of a round begin from the round's.
    """

    class Status(models.TextChoices):
        BOUND = "bound"
        REPORTED = "reported"
        DECLINED = "declined"
        FAILED = "failed"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    job = models.ForeignKey(Job, on_delete=models.CASCADE)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="assignments")
    device = models.ForeignKey(Device, on_delete=models.CASCADE)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.BOUND)
    code = models.CharField(max_length=60, blank=True)
    message = models.CharField(max_length=500, blank=True)
    phase = models.CharField(max_length=12, blank=True, help_text="Last told by the device")
    fraction = models.FloatField(default=0)
    plan_version = models.BigIntegerField(default=0)
    base_version = models.PositiveIntegerField(null=True)
    base_digest = models.CharField(max_length=64, blank=True)
    base_size = models.PositiveBigIntegerField(null=True)
    bound_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    lease_expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["round", "device"], name="assignment_once_per_round"),
            models.UniqueConstraint(
                fields=["device"], condition=Q(status="bound"), name="assignment_one_per_device"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["lease_expires_at"], condition=Q(status="bound"), name="assignment_leases"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"
