"""Tenants, their members and their tokens."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from core.ids import uuid7


class Role(models.TextChoices):
    """What a member may do; each role may do all that the next one may."""

    OWNER = "owner"
    ADMIN = "admin"
    SUBMITTER = "submitter"
    VIEWER = "viewer"


class Tenant(models.Model):
    """An organisation whose jobs, models, members, tokens and quota are its own."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(
        unique=True,
        max_length=40,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9-]*$", "lower-case letters, digits and -")],
    )
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug


class Member(models.Model):
    """A person in a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=20, choices=Role.choices)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "user"], name="member_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant} as {self.role}"


class Invitation(models.Model):
    """A link with which one person joins. Only its digest is kept; it is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    name = models.CharField(max_length=150, help_text="Who it is for")
    role = models.CharField(max_length=20, choices=Role.choices)
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.CharField(max_length=150)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+",
        help_text="The person who made it, if need be through tokens",
    )  # fmt: skip
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.CharField(max_length=150, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} as {self.role}"


class ApiToken(models.Model):
    """A secret for scripts. Only its digest is kept; it is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    start = models.CharField(max_length=12, help_text="First characters, to tell tokens apart")
    scopes = models.JSONField(default=list)
    created_by = models.CharField(max_length=150)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+",
        help_text="The person who made it, if need be through tokens",
    )  # fmt: skip
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"


class StoredAnswer(models.Model):
    """The answer to a POST with an ``Idempotency-Key``; without a status while it is made.

    Nothing in it can be read without the key that the client sent, which is not here: an answer
    may hold a secret that is shown once.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True)
    key = models.CharField(max_length=64, help_text="Digest of the caller and the key")
    request = models.CharField(max_length=64, help_text="Digest of what was asked")
    status = models.PositiveSmallIntegerField(null=True)
    location = models.CharField(max_length=200, blank=True)
    body = models.BinaryField(default=b"", help_text="Encrypted")
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "key"], name="answer_once", nulls_distinct=False
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="answer_by_age")]

    def __str__(self) -> str:
        return f"{self.status} to {self.key[:12]}"


class Webhook(models.Model):
    """Where a tenant wants its events sent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=500)
    kinds = models.JSONField(default=list)
    secret = models.BinaryField(help_text="Encrypted")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)
    read_up_to = models.BigIntegerField(help_text="Events up to this one are queued or too old")

    def __str__(self) -> str:
        return self.url


class Delivery(models.Model):
    """One event on its way to a webhook."""

    class Status(models.TextChoices):
        """Where it is."""

        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.BigIntegerField(help_text="The event's number; 0 of a test")
    kind = models.CharField(max_length=60)
    body = models.JSONField()
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    answer = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            # What is read again, to find events that were committed late, is queued once.
            models.UniqueConstraint(
                fields=["webhook", "event"],
                condition=models.Q(event__gt=0),
                name="delivery_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["next_at"],
                condition=models.Q(status="waiting"),
                name="delivery_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.status}"


class AuditEntry(models.Model):
    """Who changed what, when and from where. Append-only."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=150)
    detail = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [models.Index(fields=["tenant", "-id"], name="audit_by_tenant")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target}"
