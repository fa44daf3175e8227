"""Events: what happened, in order, for webhooks, server-sent events, pages and audits."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Event(models.Model):
    """One append-only row per thing that happened; ``id`` is the sequence. Ids, never payloads."""

    tenant_id = models.UUIDField(null=True)
    kind = models.CharField(max_length=60)
    job_id = models.UUIDField(null=True)
    round_id = models.UUIDField(null=True)
    assignment_id = models.UUIDField(null=True)
    device_id = models.UUIDField(null=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "id"], name="event_by_tenant"),
            models.Index(fields=["job_id", "id"], name="event_by_job"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"
