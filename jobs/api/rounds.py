"""The rounds of a job: list and show them, start those of a driven job."""

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import services
from jobs.api import serializers
from jobs.api.views import job_of
from jobs.models import Round
from tenants import access
from tenants.views import TenantView, caller


class RoundListView(TenantView, GenericAPIView[Round]):
    """The rounds of one job."""

    scope_of = {"GET": access.READ_JOBS, "POST": access.WRITE_JOBS}
    serializer_class = serializers.RoundSerializer
    queryset = Round.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=Round.Status.values),
            OpenApiParameter("kind", str, enum=Round.Kind.values),
        ]
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """List the rounds, newest first."""
        asked = serializers.RoundFilterSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        rows = self.get_queryset().filter(job=job_of(job_id), **asked.validated_data)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=serializers.StartRoundSerializer,
        responses={
            200: serializers.RoundDetailSerializer,
            201: serializers.RoundDetailSerializer,
        },
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Start the next round of a driven job; the same again shows it as it is then."""
        job_of(job_id)
        shape = serializers.StartRoundSerializer(data=request.data)
        shape.is_valid(raise_exception=True)
        round_, created = services.start_round(
            job_id=job_id,
            number=shape.validated_data["number"],
            parameters=shape.validated_data["parameters"],
            demand=shape.validated_data.get("demand"),
            actor=caller(request).name,
            now=timezone.now(),
        )
        location = {"Location": f"/api/v1/jobs/{job_id}/rounds/{round_.number}"}
        found = serializers.RoundDetailSerializer(round_).data
        return Response(found, status=201 if created else 200, headers=location)


class RoundView(TenantView):
    """One train round of a job; of its attempts, the last."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=serializers.RoundDetailSerializer)
    def get(self, request: Request, job_id: UUID, number: int) -> Response:
        """Show the round, with what it waits for in words and numbers."""
        rows = Round.objects.filter(job=job_of(job_id), number=number, kind=Round.Kind.TRAIN)
        round_ = rows.order_by("attempt").last()
        if round_ is None:
            raise services.RoundUnknown(f"job {job_id} has no round {number}")
        return Response(serializers.RoundDetailSerializer(round_).data)
