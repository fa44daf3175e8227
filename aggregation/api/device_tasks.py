"""What a device did for the caller's tenant: one of an own pool, or whichever took a task."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from aggregation import device_tasks
from clients.models import Device
from clients.selectors import pseudonym
from clients.services import DeviceUnknown
from jobs.models import Assignment
from tenants import access
from tenants.views import TenantView, caller


class TaskSerializer(serializers.ModelSerializer[Assignment]):
    """One task: what ran, when, how it ended, and what it cost.

    With ``is_shared`` in the context, the device's own words, and why it declined, are left out:
    they are its owner's business.
    """

    job_name = serializers.CharField(source="job.name", read_only=True)
    round = serializers.IntegerField(source="round.number", read_only=True)
    kind = serializers.CharField(source="round.kind", read_only=True)
    attempt = serializers.IntegerField(source="round.attempt", read_only=True)
    code = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()
    down_bytes = serializers.SerializerMethodField()
    up_bytes = serializers.SerializerMethodField()

    class Meta:
        model = Assignment
        fields = [
            "id", "job", "job_name", "round", "kind", "attempt", "status", "code", "message",
            "bound_at", "ended_at", "down_bytes", "up_bytes",
        ]  # fmt: skip
        read_only_fields = fields

    def get_code(self, task: Assignment) -> str:
        """Return why it ended so; empty if it went well, or a shared pool's device declined."""
        return device_tasks.told_code(task, is_own=not self.context.get("is_shared"))

    def get_message(self, task: Assignment) -> str:
        """Return what the device said of it; empty for one of a shared pool."""
        return "" if self.context.get("is_shared") else task.message

    def get_down_bytes(self, task: Assignment) -> int:
        """Return the size of the parameters that it was handed."""
        return device_tasks.down_bytes(task)

    def get_up_bytes(self, task: Assignment) -> int:
        """Return the size of the update that was taken from it."""
        return device_tasks.up_bytes(task)


class DeviceTotalsSerializer(serializers.Serializer[device_tasks.Totals]):
    """All that a device did for the tenant."""

    tasks = serializers.IntegerField()
    reported = serializers.IntegerField()
    hours = serializers.FloatField()
    down_bytes = serializers.IntegerField()
    up_bytes = serializers.IntegerField()


class DeviceOfTaskSerializer(serializers.Serializer[dict[str, Any]]):
    """The device that took a task, and all that it did for the tenant."""

    name = serializers.CharField(help_text="Of a shared pool's device, its pseudonym")
    device = serializers.UUIDField(allow_null=True, help_text="Null for a device of a shared pool")
    totals = DeviceTotalsSerializer()


class DeviceTaskListView(GenericAPIView, TenantView):  # type: ignore[type-arg]
    """The history of one device of an own pool."""

    scope_of = {"GET": access.READ_DEVICES}
    serializer_class = TaskSerializer

    def get(self, request: Request, device_id: UUID) -> Response:
        """List the device's tasks, newest first.

        Those of jobs that finished long ago (90 days) are forgotten, here and in all sums.
        """
        _require_own(request, device_id)
        rows = device_tasks.tasks(tenant_id=caller(request).tenant_id, device_id=device_id)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class DeviceTotalsView(TenantView):
    """What one device of an own pool did in all."""

    scope_of = {"GET": access.READ_DEVICES}

    @extend_schema(responses=DeviceTotalsSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        """Add up tasks, hours at work and bytes."""
        _require_own(request, device_id)
        found = device_tasks.totals(
            tenant_id=caller(request).tenant_id, device_id=device_id, now=timezone.now()
        )
        return Response(DeviceTotalsSerializer(found).data)


class DeviceOfTaskView(TenantView):
    """Whichever device took one of the tenant's tasks."""

    scope_of = {"GET": access.READ_DEVICES}

    @extend_schema(responses=DeviceOfTaskSerializer)
    def get(self, request: Request, assignment_id: UUID) -> Response:
        """Tell what the device did in all; of a shared pool's, under its pseudonym alone.

        A job's events name the assignments.
        """
        tenant_id = caller(request).tenant_id
        device = device_tasks.behind(tenant_id=tenant_id, assignment_id=assignment_id)
        is_own = device.tenant_id == tenant_id
        found = {
            "name": device.name if is_own else pseudonym(tenant_id, device.id),
            "device": device.id if is_own else None,
            "totals": device_tasks.totals(
                tenant_id=tenant_id, device_id=device.id, now=timezone.now()
            ),
        }
        return Response(DeviceOfTaskSerializer(found).data)


class TasksBesideListView(GenericAPIView, TenantView):  # type: ignore[type-arg]
    """All that the device behind a task did for the tenant."""

    scope_of = {"GET": access.READ_DEVICES}
    serializer_class = TaskSerializer

    def get(self, request: Request, assignment_id: UUID) -> Response:
        """List the tasks of the device that took this one, newest first.

        Of a shared pool's device not what it said, nor why it declined.
        """
        tenant_id = caller(request).tenant_id
        device = device_tasks.behind(tenant_id=tenant_id, assignment_id=assignment_id)
        rows = device_tasks.tasks(tenant_id=tenant_id, device_id=device.id)
        context = {"is_shared": device.tenant_id != tenant_id}
        shapes = self.get_serializer(self.paginate_queryset(rows), many=True, context=context)
        return self.get_paginated_response(shapes.data)


def _require_own(request: Request, device_id: UUID) -> None:
    own = Device.objects.filter(id=device_id, tenant_id=caller(request).tenant_id)
    if not own.exists():
        raise DeviceUnknown(f"no device {device_id}")
