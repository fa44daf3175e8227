"""Views that answer a POST once for each ``Idempotency-Key``."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Invalid
from tenants import idempotency
from tenants.access import Principal
from tenants.models import ApiToken

HEADER = "Idempotency-Key"


def answer_once(
    request: Request,
    run: Callable[[], Response],
    *,
    asked: bytes | None = None,
    caller: str | None = None,
) -> Response:
    """Return what ``run`` answers, or what it answered to the same key before.

    ``asked`` tells requests apart if their body is not JSON; ``caller`` tells callers apart that
    have no token. The present transaction must be the one of the change.
    """
    key = key_of(request, caller)
    if key is None:
        return run()
    replayed = begin(request, key, asked)
    if replayed is not None:
        return replayed
    response = run()
    keep(key, response)
    return response


def key_of(request: Request, caller: str | None = None) -> idempotency.Key | None:
    """Return the request's key, if it has one. Raises Invalid."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    most = idempotency.MAX_KEY
    if not (1 <= len(text) <= most and text.isprintable()):
        fault = f"{len(text)} characters; 1 to {most} printable ones are allowed"
        raise Invalid(f"the {HEADER} is too long, empty or not printable", errors={HEADER: fault})
    tenant_id: UUID | None = None
    if isinstance(request.user, Principal):
        tenant_id = request.user.tenant_id
        token = request.auth
        caller = str(token.pk) if isinstance(token, ApiToken) else request.user.name
    return idempotency.Key(tenant_id, caller or "", text)


def begin(request: Request, key: idempotency.Key, asked: bytes | None = None) -> Response | None:
    """Claim the key; returns the first answer if there was one. Raises KeyReused."""
    body = json.dumps(request.data, sort_keys=True).encode() if asked is None else asked
    fingerprint = f"{request.method} {request.get_full_path()} ".encode() + body
    found = idempotency.begin(key=key, request=fingerprint, now=timezone.now())
    if found is None:
        return None
    headers = {"Idempotency-Replayed": "true"}
    if found.location:
        headers["Location"] = found.location
    return Response(json.loads(found.body), status=found.status, headers=headers)


def keep(key: idempotency.Key, response: Response) -> None:
    """Keep a first answer."""
    body = JSONRenderer().render(response.data) or b"null"
    location = response.headers.get("Location", "")
    idempotency.keep(key=key, answer=idempotency.Answer(response.status_code, body, location))
