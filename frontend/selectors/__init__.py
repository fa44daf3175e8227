"""Reads for pages, one module a page: a bounded number of queries, plain dataclasses out."""
