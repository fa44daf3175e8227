"""The data plane's rows in the admin: to look at, never to change."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from aggregation.models import Batch, Blob, Hold, Leaf, ModelVersion, Partial, Update


class ReadOnly(ModelAdmin):
    """No adding, changing or deleting: other rows and files depend on these."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Blob)
class BlobAdmin(ReadOnly):
    list_display: ClassVar = ["digest", "tenant", "size_bytes", "created_at", "marked_at"]
    search_fields: ClassVar = ["digest"]


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnly):
    list_display: ClassVar = [
        "job", "number", "reports", "size_bytes", "pinned", "created_at", "released_at",
    ]  # fmt: skip
    list_filter: ClassVar = ["tenant", "pinned"]
    list_select_related: ClassVar = ["job"]


@admin.register(Batch)
class BatchAdmin(ReadOnly):
    list_display: ClassVar = ["round", "number", "claimed_until", "failures", "done_at"]
    list_select_related: ClassVar = ["round"]


@admin.register(Partial)
class PartialAdmin(ReadOnly):
    list_display: ClassVar = ["round", "number", "count", "weight", "size_bytes", "created_at"]
    list_select_related: ClassVar = ["round"]


@admin.register(Update)
class UpdateAdmin(ReadOnly):
    list_display: ClassVar = [
        "round", "sequence", "device", "weight", "norm", "is_outlier", "size_bytes", "accepted_at",
    ]  # fmt: skip
    list_filter: ClassVar = ["is_outlier"]
    list_select_related: ClassVar = ["round", "assignment__device"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the device, too: the list of devices leads here."""
        if lookup == "assignment__device__id__exact":
            return True
        return bool(super().lookup_allowed(lookup, value, request))

    @admin.display(description="Device")
    def device(self, update: Update) -> str:
        """Name whose it is."""
        return update.assignment.device.name


@admin.register(Leaf)
class LeafAdmin(ReadOnly):
    list_display: ClassVar = ["name", "url", "heard_at", "revoked_at", "load"]


@admin.register(Hold)
class HoldAdmin(ReadOnly):
    list_display: ClassVar = ["assignment_id", "leaf", "round", "size_bytes", "held_at"]
    list_select_related: ClassVar = ["leaf", "round"]
