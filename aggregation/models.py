"""Blobs, model versions, updates and what folding makes of them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from clients.models import Pool
from core.ids import uuid7
from jobs.models import Assignment, Job, Round
from tenants.models import Tenant


class Blob(models.Model):
    """A tenant's claim to a file of the blob store. Marked once no other row names its digest."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    created_at = models.DateTimeField()
    marked_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "digest"], name="blob_once_per_tenant"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["digest"], name="blob_by_digest"),
            models.Index(
                fields=["marked_at"], condition=Q(marked_at__isnull=False), name="blob_marked"
            ),
        ]

    def __str__(self) -> str:
        return self.digest[:12]


class ModelVersion(models.Model):
    """The parameters after a round; version 0 is what the job began with, and has no round."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="versions")
    round = models.OneToOneField(Round, on_delete=models.CASCADE, null=True, related_name="version")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    state_digest = models.CharField(
        max_length=64, blank=True, help_text="The strategy's own tensors after this round"
    )
    reports = models.PositiveIntegerField(default=0)
    metrics = models.JSONField(default=dict, help_text="Weighted means over the round's reports")
    evaluation = models.JSONField(default=dict, help_text="The same, of its evaluation round")
    made_with = models.JSONField(
        default=dict,
        db_default={},  # for workers of the release before, while they still run
        help_text="Releases of the platform and of its libraries, by name",
    )
    pinned = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, help_text="When retention let its tensors go")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "number"], name="version_once"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["digest"], condition=Q(released_at=None), name="version_names_blob"
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number} of {self.job_id}"


class Claim(models.Model):
    """A piece of work that one worker has at a time, until ``claimed_until``."""

    token = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0)
    done_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class Batch(Claim):
    """Updates of a round with sequence numbers ``first`` to ``last``, folded in that order.

    Rows, not arithmetic: the knob ``fold_batch`` may change while a round runs.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="batches")
    number = models.PositiveIntegerField()
    first = models.PositiveIntegerField()
    last = models.PositiveIntegerField()

    class Meta:
        verbose_name_plural = "batches"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["round", "number"], name="batch_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["round"], condition=Q(done_at=None), name="batch_waiting"),
        ]

    def __str__(self) -> str:
        return f"batch {self.number} of {self.round_id}"


class Closing(Claim):
    """The merge of a round's partials and the strategy's step."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    round = models.OneToOneField(
        Round, primary_key=True, on_delete=models.CASCADE, related_name="closing"
    )

    def __str__(self) -> str:
        return f"closing of {self.round_id}"


class Partial(models.Model):
    """The weighted sum of one batch. Its tensors are a blob; its scalars are here."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="partials")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    count = models.PositiveIntegerField()
    weight = models.FloatField()
    metrics = models.JSONField(
        default=dict, help_text="Name to weighted sum, sum of weights and count"
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["round", "number"], name="partial_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["digest"], name="partial_names_blob")]

    def __str__(self) -> str:
        return f"partial {self.number} of {self.round_id}"


class RoundSum(models.Model):
    """What a driven job's round ended with: the weighted sum over its reports."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    round = models.OneToOneField(Round, on_delete=models.CASCADE, related_name="sum")
    digest = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    count = models.PositiveIntegerField(help_text="Reports that are in it")
    weight = models.FloatField(help_text="Sum of their weights")
    metrics = models.JSONField(default=dict, help_text="Weighted means over the reports")
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, help_text="When retention let its tensors go")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["digest"], condition=Q(released_at=None), name="sum_names_blob"),
        ]

    def __str__(self) -> str:
        return f"sum of {self.round_id}"


class Update(models.Model):
    """What one device sent back; of an evaluation only scalars, so no digest and no batch.

    ``partial`` is set once, in the transaction that commits the sum that this update is in. One
    that was set aside is in none.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="updates")
    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE)
    sequence = models.PositiveIntegerField()
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, null=True, related_name="updates")
    partial = models.ForeignKey(
        Partial, on_delete=models.RESTRICT, null=True, related_name="updates"
    )
    digest = models.CharField(max_length=64, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    weight = models.FloatField()
    metrics = models.JSONField(default=dict)
    accepted_at = models.DateTimeField()
    set_aside_at = models.DateTimeField(
        null=True, help_text="When its bytes were found to have changed on the disk"
    )
    norm = models.FloatField(
        null=True,
        help_text="L2 norm of its change by the heads of the tensors; none if not measured",
    )
    is_outlier = models.BooleanField(
        default=False,
        db_default=False,  # for workers of the release before, while they still run
        help_text="Whether its norm stood out among those of its round",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["round", "sequence"], name="update_once"),
            models.CheckConstraint(
                condition=Q(digest="") & Q(batch=None) | ~Q(digest="") & Q(batch__isnull=False),
                name="update_has_batch_if_tensors",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["digest"], name="update_names_blob"),
            models.Index(
                fields=["accepted_at"], condition=Q(is_outlier=True), name="update_outliers"
            ),
        ]

    def __str__(self) -> str:
        return f"update {self.sequence} of {self.round_id}"


class Leaf(models.Model):
    """A data-plane node near devices, of the operator's. Without pools it serves all of them."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.SlugField(max_length=60, unique=True)
    url = models.URLField(help_text="Where devices reach it, as in https://leaf.example.org")
    pools = models.ManyToManyField(Pool, blank=True)
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of its token")
    start = models.CharField(max_length=8, help_text="How its token begins")
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True, help_text="Its last heartbeat")
    load = models.JSONField(default=dict, help_text="What it told of itself then")

    class Meta:
        verbose_name_plural = "leaves"

    def __str__(self) -> str:
        return self.name


class Hold(models.Model):
    """An update that a leaf has on its disk and acknowledged, until its partial comes."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    assignment = models.OneToOneField(Assignment, primary_key=True, on_delete=models.CASCADE)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="holds")
    leaf = models.ForeignKey(Leaf, on_delete=models.CASCADE, related_name="holds")
    digest = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    weight = models.FloatField()
    metrics = models.JSONField(default=dict)
    held_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.assignment_id} at {self.leaf_id}"


class UsageDay(models.Model):
    """What one job used on one day (UTC) in which rounds of it closed."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    job = models.ForeignKey(Job, on_delete=models.CASCADE)
    day = models.DateField()
    rounds = models.PositiveIntegerField()
    assignments = models.PositiveIntegerField()
    reported = models.PositiveIntegerField()
    device_seconds = models.FloatField()
    down_bytes = models.PositiveBigIntegerField()
    up_bytes = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "day"], name="usage_once_a_day"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "day"], name="usage_by_tenant")]

    def __str__(self) -> str:
        return f"{self.day} {self.job_id}"
