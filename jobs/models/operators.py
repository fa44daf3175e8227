"""What the operator asks of the fleet, and keeps from it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


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
        return f"{self.mode} since {self.created_at:%Y-%m-%d %H:%M} UTC"

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
        return f"{self.kind} {self.target} since {self.created_at:%Y-%m-%d %H:%M} UTC"

    @property
    def message(self) -> str:
        """Say it to those whom it concerns."""
        what = {
            self.Kind.JOB: "this job",
            self.Kind.WORKLOAD: f"the workload {self.target}",
            self.Kind.SDK: f"devices that run {self.target}",
        }[self.Kind(self.kind)]
        return f"the operator has put {what} in quarantine: {self.reason}"
