"""Cursor pages: stable while rows are added, and as fast on page 1 000 as on page 1."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination

from core.errors import Invalid


class CursorPages(CursorPagination):
    """Newest first; keys are UUIDv7 or sequences, so the key alone orders by time."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    ordering = "-pk"

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        """Return a page. Raises NotFound for a cursor that we did not make."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError):
            # Well encoded, but what is in it is no key.
            raise NotFound(self.invalid_cursor_message) from None

    def get_page_size(self, request: Any) -> int:
        """Return how many rows to show; more than the most is the most. Raises Invalid."""
        text = request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size
        try:
            return min(self.max_page_size, _positive(text))
        except ValueError:
            fault = f"{text[:40]!r}; a number of 1 or more is allowed"
            raise Invalid(
                f"{self.page_size_query_param}: {fault}",
                errors={self.page_size_query_param: fault},
            ) from None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page, in the words of OpenAPI 3.1."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "properties": {"next": link, "previous": link, "results": schema},
            "required": ["next", "previous", "results"],
        }


def _positive(text: str) -> int:
    found = int(text)
    if found < 1:
        raise ValueError(text)
    return found
