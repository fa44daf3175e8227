"""The console's sidebar: its pages by what an operator does, not by the app that has the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

PREVIEW = "admin:scheduling_preview"
GROUPS: dict[str, tuple[str, ...]] = {
    "Share the fleet": (
        "scheduling.SharingPolicy", PREVIEW, "scheduling.TenantShare", "scheduling.ShareChange",
        "scheduling.TenantQuota", "scheduling.QuotaChange", "scheduling.PlanRecord",
        "scheduling.FleetMinute",
    ),
    "Fleet": (
        "clients.Pool", "clients.Device", "clients.EnrolmentToken", "clients.AttributeDefinition",
        "clients.AttributeChange", "clients.SdkRequirement", "aggregation.Leaf",
    ),
    "Work": ("jobs.Job", "scheduling.WaitingJob", "jobs.Round", "jobs.Assignment"),
    "Maintenance": ("jobs.Maintenance", "jobs.Quarantine", "scheduling.GatewayDrain"),
    "People": (
        "tenants.Tenant", "tenants.Member", "auth.User", "auth.Group", "tenants.AuditEntry",
        "tenants.Delivery",
    ),
    "Storage": (
        "aggregation.ModelVersion", "aggregation.Update", "aggregation.Partial",
        "aggregation.Batch", "aggregation.Hold", "aggregation.Blob",
    ),
}  # fmt: skip
TITLES = {
    PREVIEW: "Preview a change",
    "scheduling.FleetMinute": "Recorded minutes",
    "scheduling.TenantQuota": "Admission limits",
    "scheduling.QuotaChange": "Limits as they were",
    "scheduling.ShareChange": "Shares as they were",
    "clients.AttributeDefinition": "Attribute schema",
    "clients.AttributeChange": "Schema as it was",
    "tenants.AuditEntry": "Audit",
    "tenants.Delivery": "Webhook deliveries",
}
"""Where the name of the rows does not say what the page is for."""


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups as the theme takes them."""
    front = {"title": "Now", "link": reverse("admin:index")}
    return [
        {"items": [front]},
        *(
            {"title": title, "separator": True, "items": [_item(one) for one in pages]}
            for title, pages in GROUPS.items()
        ),
    ]


def _item(page: str) -> dict[str, Any]:
    if page == PREVIEW:
        link = reverse(PREVIEW)
        return {"title": TITLES[page], "link": link, "permission": _may("scheduling.SharingPolicy")}
    meta = apps.get_model(page)._meta
    link = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    return {
        "title": _title(page),
        "link": link,
        "active": lambda request: (
            request.path.startswith(link) and not request.path.startswith(reverse(PREVIEW))
        ),
        "permission": _may(page),
    }


def titles() -> dict[str, str]:
    """Return the model behind each entry, by its title."""
    pages = (one for group in GROUPS.values() for one in group if one != PREVIEW)
    return {_title(one): one for one in pages}


def _title(page: str) -> str:
    title = TITLES.get(page) or str(apps.get_model(page)._meta.verbose_name_plural)
    return title[:1].upper() + title[1:]


def _may(page: str) -> Callable[[HttpRequest], bool]:
    model = apps.get_model(page)
    return lambda request: admin.site._registry[model].has_view_or_change_permission(request)
