"""Submit, clone, list, show and steer jobs; stream their events."""

import functools
import time
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core import knobs, origin
from core.errors import Invalid
from core.parsing import StrictJson
from jobs import selectors, services
from jobs.api import events, serializers
from jobs.event_kinds import KINDS
from jobs.models import Job
from tenants import access, replays, scopes
from tenants.authentication import still_may
from tenants.models import ApiToken
from tenants.views import MeteredView, TenantView, caller

POLL_S = 0.05
STATUSES = [*Job.Status.values, *Job.Outcome.values]


class _Submitting(MeteredView, GenericAPIView[Job]):
    """Answers a submission once it is admitted.

    Another process decides that when the job is committed, so these views are not in one
    transaction but open their own.
    """

    parser_classes = [StrictJson]
    serializer_class = serializers.JobSerializer
    queryset = Job.objects.all()

    def answer(self, request: Request, submit: Callable[..., Job]) -> Response:
        """Submit, wait for the admission, and show the job."""
        me, key = caller(request), replays.key_of(request)
        origin.name(me.name)
        with scopes.scope(me.tenant_id):
            replayed = replays.begin(request, key) if key else None
            if replayed is not None:
                return replayed
            job = submit(tenant_id=me.tenant_id, submitted_by=me.name, now=timezone.now())
            if key:
                replays.keep(key, _submitted(job))  # for who asks again while this one waits
        until = time.monotonic() + knobs.get().admission_wait_s
        while job.status == Job.Status.SUBMITTED and time.monotonic() < until:
            time.sleep(POLL_S)
            with scopes.scope(me.tenant_id):
                job.refresh_from_db()
        with scopes.scope(me.tenant_id):
            response = _submitted(job)
            if key:
                replays.keep(key, response)
        return response


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class JobListView(_Submitting):
    """The tenant's jobs."""

    scope_of = {"GET": access.READ_JOBS, "POST": access.WRITE_JOBS}

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=STATUSES, description="State or outcome"),
            OpenApiParameter("name", str, description="Part of the name"),
        ]
    )
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        with scopes.scope(caller(request).tenant_id):
            page = self.paginate_queryset(self._filtered(request)) or []
            current = selectors.current_rounds(page)
            shapes = self.get_serializer(page, many=True, context={"current": current})
            return self.get_paginated_response(shapes.data)

    @extend_schema(
        request={"application/json": {"type": "object", "description": "A job file"}},
        responses={201: serializers.JobSerializer},
    )
    def post(self, request: Request) -> Response:
        """Submit a job. Waits up to 2 s for its admission; a replay gives the first answer."""
        raw = _object(request.data)
        return self.answer(request, functools.partial(services.submit, raw=raw))

    def _filtered(self, request: Request) -> Any:
        rows = self.get_queryset()
        status = request.query_params.get("status")
        if status and status not in STATUSES:
            raise Invalid(
                f"status {status!r} is not known",
                errors={"status": f"{status!r}; allowed are {', '.join(STATUSES)}"},
            )
        if status in Job.Outcome.values:
            rows = rows.filter(outcome=status)
        elif status:
            rows = rows.filter(status=status)
        if name := request.query_params.get("name"):
            if "\0" in name:
                raise Invalid("name holds a NUL", errors={"name": "text without NUL is allowed"})
            rows = rows.filter(name__icontains=name)
        return rows


class JobView(TenantView):
    """One job."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=serializers.JobSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show the job, with what it waits for in words and numbers."""
        return Response(serializers.JobSerializer(job_of(job_id)).data)


class JobActionView(TenantView):
    """Steers one job: cancel, pause, resume; finish, if it is driven."""

    scope_of = {"POST": access.WRITE_JOBS}
    action = ""

    @extend_schema(request=None, responses=serializers.JobSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Do it, and show the job as it is then."""
        service = {
            "cancel": services.cancel,
            "pause": services.pause,
            "resume": services.resume,
            "finish": services.finish,
        }[self.action]
        job = service(job_id=job_id, actor=caller(request).name, now=timezone.now())
        return Response(serializers.JobSerializer(job).data)


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class JobCloneView(_Submitting):
    """Submits a job's file again."""

    scope_of = {"POST": access.WRITE_JOBS}

    @extend_schema(
        request={
            "application/json": {
                "type": "object",
                "description": "Top-level fields of the job file to replace",
            }
        },
        responses={201: serializers.JobSerializer},
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Submit the job's file again as a new job; the body's fields replace the file's."""
        changes = _object(request.data or {})
        clone = functools.partial(services.clone, job_id=job_id, changes=changes)
        return self.answer(request, clone)


class _EventStream(BaseRenderer):
    """So that ``Accept: text/event-stream`` is understood; a refusal is still a problem."""

    media_type = events.TYPE
    format = "events"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        """Render what is no stream."""
        return JSONRenderer().render(data)


def _still_may(request: Request) -> Callable[[], bool]:
    who, token = caller(request), cast("ApiToken | None", request.auth)
    return lambda: still_may(who, token, access.READ_JOBS, now=timezone.now())


class JobEventsView(TenantView):
    """What happens to one job, as it happens."""

    scope_of = {"GET": access.READ_JOBS}
    renderer_classes = [_EventStream, JSONRenderer]

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "Last-Event-ID", str, OpenApiParameter.HEADER, description="Resume after this one"
            ),
            OpenApiParameter("follow", bool, description="false: end after what is there now"),
            OpenApiParameter(
                "kind",
                str,
                many=True,
                enum=KINDS,
                description="Only events of this kind; several by commas, or said again",
            ),
        ],
        responses={(200, events.TYPE): events.SCHEMA, 204: None},
    )
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """Stream the job's events (server-sent events). 204: it has ended, and nothing is left."""
        job, tenant_id = job_of(job_id), caller(request).tenant_id
        last = _number(request.headers.get("Last-Event-ID", ""))
        follow = _flag("follow", request.query_params.get("follow", "true"))
        kinds = _kinds(request.query_params.getlist("kind"))
        reader = events.Reader(tenant_id, job_id, last, kinds)
        if (last or kinds) and job.status == Job.Status.FINISHED:
            told, over = events.Reader(tenant_id, job_id, last, kinds).read()
            if over and not told:
                return Response(status=204)  # which tells a browser not to come back
        events.require_free(tenant_id)
        return StreamingHttpResponse(
            events.stream(reader, follow=follow, may=_still_may(request)),
            content_type=events.TYPE,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


def _submitted(job: Job) -> Response:
    location = {"Location": f"/api/v1/jobs/{job.id}"}
    return Response(serializers.JobSerializer(job).data, status=201, headers=location)


def job_of(job_id: UUID) -> Job:
    """Return a job of the caller's tenant. Raises JobUnknown."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise services.JobUnknown(f"no job {job_id}")
    return job


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Invalid(f"a job is an object, not {type(data).__name__}")
    return data


def _number(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        fault = f"{text[:40]!r}; the id of an event is allowed"
        raise Invalid("Last-Event-ID is no number", errors={"Last-Event-ID": fault})
    return int(text)


def _kinds(texts: list[str]) -> tuple[str, ...]:
    asked = [one for text in texts for one in text.split(",") if one]
    unknown = [one[:40] for one in asked if one not in KINDS]
    if unknown:
        fault = f"{unknown[0]!r}; allowed are {', '.join(KINDS)}"
        raise Invalid(f"kind {unknown[0]!r} is not known", errors={"kind": fault})
    return tuple(dict.fromkeys(asked))


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise Invalid(f"{name} is no flag", errors={name: f"{text[:40]!r}; true or false"})
    return text == "true"
