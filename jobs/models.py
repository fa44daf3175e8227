"""Jobs, rounds and assignments: the state that both planes serve."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from clients.models import Device
from core.ids import uuid7
from tenants.models import Tenant


class Maintenance(models.Model):
    """What the operator asks of the whole fleet. Rows are never changed; the newest is in force."""

    class Mode(models.TextChoices):
        NORMAL = "normal", "Normal: devices are bound to rounds"
        PAUSED = "paused", "Pause: no new device is bound; those at work go on"
        STOPPED = "stopped", "Stop: those at work are called back, too"

    mode = models.CharField(max_length=10, choices=Mode.choices)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "maintenance"
        get_latest_by = "id"

    def __str__(self) -> str:
        return f"{self.mode} since {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def message(self) -> str:
        """Say it to those who wait."""
        what = "stopped the fleet" if self.mode == self.Mode.STOPPED else "paused new rounds"
        return f"the operator has {what}: {self.reason}"


class Quarantine(models.Model):
    """What the operator keeps from all devices, until it is lifted. Rows stay: the history."""

    class Kind(models.TextChoices):
        JOB = "job", "A job, by its id"
        WORKLOAD = "workload", "A workload, by a program's digest or a function's name"
        SDK = "sdk", "A version of the devices' software"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    target = models.CharField(max_length=100)
    reason = models.CharField(max_length=300)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    lifted_by = models.CharField(max_length=150, blank=True)
    lifted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "target"],
                condition=Q(lifted_at=None),
                name="quarantine_once_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target} since {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def message(self) -> str:
        """Say it to those whom it concerns."""
        what = {
            self.Kind.JOB: "this job",
            self.Kind.WORKLOAD: f"the workload {self.target}",
            self.Kind.SDK: f"devices that run {self.target}",
        }[self.Kind(self.kind)]
        return f"the operator has put {what} in quarantine: {self.reason}"


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
    idempotency_key = models.CharField(max_length=100, null=True)  # noqa: DJ001 - NULLs are not unique
    request_digest = models.CharField(max_length=64)
    submitted_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"], name="job_once_per_idempotency_key"
            ),
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
