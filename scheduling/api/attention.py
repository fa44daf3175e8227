"""What needs a look, as the overview tells it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from scheduling import attention, troubles
from scheduling.attention import Note
from tenants import access
from tenants.views import TenantView, caller

CODES = (
    "job_put_off, job_stalled, job_failed, job_rejected, job_expired, fleet_stopped, "
    "rounds_paused, gateways_emptied, quota_used_up, quota_near_end, webhook_fails, token_expires"
)


class NoteSerializer(serializers.Serializer[Note]):
    """One thing that needs a look, and the id of what it is about."""

    code = serializers.CharField(help_text=f"What kind of thing: {CODES}")
    title = serializers.CharField(help_text="Of a job, its name")
    text = serializers.CharField()
    needs_you = serializers.BooleanField(help_text="false: it passes by itself")
    at = serializers.DateTimeField(
        allow_null=True, help_text="Since when; of a token, when it expires"
    )
    job = serializers.UUIDField(source="job_id", allow_null=True)
    webhook = serializers.UUIDField(source="webhook_id", allow_null=True)
    token = serializers.UUIDField(source="token_id", allow_null=True)


class AttentionSerializer(serializers.Serializer[dict[str, Any]]):
    """All that needs a look."""

    notes = NoteSerializer(many=True)
    more_stuck = serializers.IntegerField(
        help_text=f"Jobs that are put off or stalled beside the newest {troubles.URGENT}"
    )
    more_failed = serializers.IntegerField(
        help_text=(
            f"Jobs that failed, were rejected or expired within {troubles.LATELY.days} days "
            f"beside the newest {troubles.URGENT}"
        )
    )


class AttentionView(TenantView):
    """What needs a look."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=AttentionSerializer)
    def get(self, request: Request) -> Response:
        """List jobs in trouble, quotas near their end, and what the operator does to the fleet.

        With the scope tenant:read also webhooks that fail and API tokens that expire soon.
        """
        me, now = caller(request), timezone.now()
        jobs = troubles.find(now=now)
        notes = attention.of_jobs(jobs) + attention.of_fleet(tenant_id=me.tenant_id, now=now)
        if me.may(access.READ_TENANT):
            notes += attention.of_access(now=now)
        found = {"notes": notes, "more_stuck": jobs.stuck_more, "more_failed": jobs.failed_more}
        return Response(AttentionSerializer(found).data)
