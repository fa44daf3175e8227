"""Cursor pages: stable while rows are added, and as fast on page 1 000 as on page 1."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class CursorPages(CursorPagination):
    """Newest first; keys are UUIDv7 or sequences, so the key alone orders by time."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    ordering = "-pk"
