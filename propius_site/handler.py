"""Django's handler of requests, which also answers those whose head it cannot read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import IO, Any

from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpResponseBadRequest
from django.http.response import HttpResponseBase

logger = logging.getLogger(__name__)


class Handler(ASGIHandler):
    """Answer 400 where a parameter of the content type names a charset that there is not."""

    def create_request(
        self, scope: Mapping[str, Any], body_file: IO[bytes]
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """Return the request, or the refusal: no middleware has seen it yet."""
        try:
            return super().create_request(scope, body_file)
        except ValueError as error:
            logger.warning("request.unreadable", extra={"error": str(error)})
            return None, HttpResponseBadRequest("The head of the request cannot be read.")
