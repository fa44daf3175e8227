"""Upload programs and parameters; list, pin and download model versions."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

from django.http import HttpResponseBase, HttpResponseNotModified, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

import jobs.services
from aggregation import artifacts, driven, retention, selectors
from aggregation.api import serializers, streams
from core import knobs
from core.pagination import CursorPages
from jobs.models import Artifact, Job
from tenants import access
from tenants.replays import answer_once
from tenants.views import TenantView, caller

_FILE = {streams.BINARY: OpenApiTypes.BINARY}
_DIGEST = re.compile("[0-9a-f]{64}")


class _ArtifactList(GenericAPIView, TenantView):  # type: ignore[type-arg]
    scope_of = {"GET": access.READ_MODELS, "POST": access.WRITE_MODELS}
    serializer_class = serializers.ArtifactSerializer
    queryset = Artifact.objects.all()
    kind: str
    answers_once = False  # by the file's digest, known once it is here: see answer

    def get(self, request: Request) -> Response:
        """List what was uploaded, newest first."""
        page = self.paginate_queryset(self.get_queryset().filter(kind=self.kind))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def answer(self, request: Request, artifact: Artifact) -> Response:
        """Show an upload."""
        shape = serializers.ArtifactDetailSerializer(artifact)
        return answer_once(
            request, lambda: Response(shape.data, status=201), asked=artifact.digest.encode()
        )


class ParametersListView(_ArtifactList):
    """Sets of parameters: safetensors files."""

    kind = Artifact.Kind.PARAMETERS

    @extend_schema(request=_FILE, responses={201: serializers.ArtifactDetailSerializer})
    def post(self, request: Request) -> Response:
        """Upload a safetensors file as the raw body. The same bytes give the same digest."""
        stream = streams.received(request, limit=knobs.get().max_parameters_bytes)
        return self.answer(
            request,
            artifacts.store_parameters(
                tenant_id=_tenant_of(request), stream=stream, now=timezone.now()
            ),
        )


class ProgramListView(_ArtifactList):
    """Programs."""

    kind = Artifact.Kind.PROGRAM

    @extend_schema(request=_FILE, responses={201: serializers.ArtifactDetailSerializer})
    def post(self, request: Request) -> Response:
        """Upload a program as the raw body. ``checking`` until it has run once in a child."""
        stream = streams.received(request, limit=knobs.get().max_program_bytes)
        return self.answer(
            request,
            artifacts.store_program(
                tenant_id=_tenant_of(request), stream=stream, now=timezone.now()
            ),
        )


class ArtifactView(TenantView):
    """One upload."""

    scope_of = {"GET": access.READ_MODELS}
    kind = ""

    @extend_schema(responses=serializers.ArtifactDetailSerializer)
    def get(self, request: Request, digest: str) -> Response:
        """Show an upload, what was found in it, and what is wrong with it."""
        found = None
        if _DIGEST.fullmatch(digest):  # a path may hold what no column can
            found = Artifact.objects.filter(kind=self.kind, digest=digest).first()
        if found is None:
            raise jobs.services.ArtifactUnknown(f"no {self.kind} {digest[:80]!r}")
        return Response(serializers.ArtifactDetailSerializer(found).data)


class _VersionPages(CursorPages):
    ordering = "-number"


class VersionListView(GenericAPIView, TenantView):  # type: ignore[type-arg]
    """The versions of a job's model."""

    scope_of = {"GET": access.READ_MODELS}
    serializer_class = serializers.ModelVersionSerializer
    pagination_class: type[CursorPagination] = _VersionPages

    @extend_schema(
        parameters=[
            OpenApiParameter("pinned", bool),
            OpenApiParameter("released", bool, description="Whether retention has let it go"),
        ]
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """List versions, newest first. One with ``released_at`` can no longer be downloaded."""
        _require_job(job_id)
        asked = serializers.VersionFilterSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        page = self.paginate_queryset(selectors.versions(job_id).filter(**asked.narrowed()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class VersionDownloadView(TenantView):
    """The tensors of a version."""

    scope_of = {"GET": access.READ_MODELS}

    @extend_schema(responses={(200, streams.BINARY): OpenApiTypes.BINARY, 304: None})
    def get(self, request: Request, job_id: UUID, number: int | None = None) -> HttpResponseBase:
        """Download a version (``latest``: the newest) as safetensors. The ETag is its digest."""
        _require_job(job_id)
        found = selectors.download(job_id=job_id, number=number)
        name = f"{job_id}-v{found.number}.safetensors"
        return _file(request, found.path, found.digest, found.size_bytes, name)


class VersionPinView(TenantView):
    """Whether retention has to keep a version."""

    scope_of = {"POST": access.WRITE_MODELS}

    @extend_schema(request=serializers.PinSerializer, responses=serializers.ModelVersionSerializer)
    def post(self, request: Request, job_id: UUID, number: int) -> Response:
        """Pin a version, or with ``{"pinned": false}`` let retention have it."""
        _require_job(job_id)
        shape = serializers.PinSerializer(data=request.data)
        shape.is_valid(raise_exception=True)
        version = retention.pin(
            job_id=job_id,
            number=number,
            pinned=shape.validated_data["pinned"],
            actor=caller(request).name,
            now=timezone.now(),
        )
        return Response(serializers.ModelVersionSerializer(version).data)


class RoundParametersView(TenantView):
    """Parameters of a driven job's next round."""

    scope_of = {"POST": access.WRITE_JOBS}
    answers_once = False  # by the file's digest, known once it is here

    @extend_schema(request=_FILE, responses={201: serializers.ArtifactSerializer})
    def post(self, request: Request, job_id: UUID) -> Response:
        """Upload a safetensors file as the raw body: the tensors that the job began with."""
        _require_job(job_id)
        stream = streams.received(request, limit=knobs.get().max_parameters_bytes)
        found = driven.store_parameters(job_id=job_id, stream=stream, now=timezone.now())
        shape = serializers.ArtifactSerializer(found)
        return answer_once(
            request, lambda: Response(shape.data, status=201), asked=found.digest.encode()
        )


class SumView(TenantView):
    """What a driven job's round ended with."""

    scope_of = {"GET": access.READ_MODELS}

    @extend_schema(responses=serializers.RoundSumSerializer)
    def get(self, request: Request, job_id: UUID, number: int) -> Response:
        """Show the count, the sum of weights and the metrics of a round's sum."""
        _require_job(job_id)
        found = driven.sum_of(job_id=job_id, number=number)
        return Response(serializers.RoundSumSerializer(found).data)


class SumDownloadView(TenantView):
    """The tensors of a sum."""

    scope_of = {"GET": access.READ_MODELS}

    @extend_schema(responses={(200, streams.BINARY): OpenApiTypes.BINARY, 304: None})
    def get(self, request: Request, job_id: UUID, number: int) -> HttpResponseBase:
        """Download Σ weight · update as safetensors. The ETag is its digest."""
        _require_job(job_id)
        one = driven.download(job_id=job_id, number=number)
        name = f"{job_id}-sum{number}.safetensors"
        return _file(request, one.path, one.found.digest, one.found.size_bytes, name)


def _file(
    request: Request, path: Path, digest: str, size_bytes: int, name: str
) -> HttpResponseBase:
    etag = f'"{digest}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in request.headers.get("If-None-Match", ""):
        return HttpResponseNotModified(headers=headers)
    headers |= {
        "Content-Length": str(size_bytes),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return StreamingHttpResponse(streams.sent(path), content_type=streams.BINARY, headers=headers)


def _tenant_of(request: Request) -> UUID:
    tenant_id: UUID = caller(request).tenant_id
    return tenant_id


def _require_job(job_id: UUID) -> None:
    if not Job.objects.filter(id=job_id).exists():
        raise jobs.services.JobUnknown(f"no job {job_id}")
