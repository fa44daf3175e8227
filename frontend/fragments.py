"""What a page shows that changes, as sections. Pages include them; live pages get them pushed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode
from uuid import UUID

from django.template.loader import render_to_string

from frontend import day_chart, tier_chart, words
from frontend.asked import Asked
from frontend.selectors import comparing, fleet, job, jobs, versions
from frontend.selectors import overview as home
from scheduling import day
from tenants import scopes

Context = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that pages show, for those who see the same of it: rendered once for all."""

    page: str
    tenant_id: UUID
    job_id: UUID | None = None
    may_write: bool = False
    query: str = ""

    def concerns(self, *, tenant_id: UUID | None, job_id: UUID | None) -> bool:
        """Tell whether a change of this tenant's job may change what is shown."""
        if tenant_id is None:  # of the shared fleet
            return self.page == "overview"
        return tenant_id == self.tenant_id and (self.job_id is None or self.job_id == job_id)


def overview(topic: Topic, now: datetime) -> Context:
    """Return what the overview shows."""
    last = day.day(tenant_id=topic.tenant_id, now=now)
    return {
        "day": last,
        "chart": day_chart.chart(last),
        "tier_chart": tier_chart.chart(last),
        "overview": home.overview(tenant_id=topic.tenant_id, now=now),
        "fleet": fleet.fleet(tenant_id=topic.tenant_id, now=now),
        "may_write": topic.may_write,
    }


def job_list(topic: Topic, now: datetime) -> Context:
    """Return what the list of jobs shows for the query's filter."""
    asked = {key: values[-1] for key, values in parse_qs(topic.query).items()}
    number = asked.get("page", "1")
    found = jobs.page(
        state=asked.get("state", ""),
        search=words.searched(asked.get("q", "")),
        number=int(number[:6]) if number.isdecimal() else 1,
        sort=asked.get("sort", ""),
    )
    kept = found.kept

    def link(**changes: str) -> str:
        return urlencode({key: text for key, text in (kept | changes).items() if text})

    return {
        "jobs": found,
        "kept": urlencode(kept),
        "filters": [(key, label, total, link(state=key)) for key, label, total in found.counts],
        "columns": [(one, link(sort=one.asks)) for one in found.columns],
        "may_write": topic.may_write,
    }


def job_page(topic: Topic, now: datetime) -> Context:
    """Return what a job's page shows. Raises JobUnknown."""
    assert topic.job_id is not None
    row = job.find(topic.job_id)
    asked = Asked.read(topic.query)
    detail = job.detail(row, asked, now=now)
    return {
        "job": detail.job,
        "detail": detail,
        "asked": asked,
        "measured": detail.measured,
        "kept": versions.kept(row, asked),
        # Called by the page only: what is pushed does not have it.
        "choices": lambda: comparing.choices(row, detail.measured.compared),
        "answer": versions.answer(row),
        "spec_text": json.dumps(row.spec_raw, indent=2, ensure_ascii=False),
        "may_write": topic.may_write,
    }


@dataclass(frozen=True, slots=True)
class Page:
    """A page's sections, each a template whose root carries an id of its own."""

    context: Callable[[Topic, datetime], Context]
    sections: tuple[str, ...]


PAGES = {
    "overview": Page(
        overview, ("overview/_headline", "overview/_fleet", "overview/_day", "overview/_jobs")
    ),
    "jobs": Page(job_list, ("jobs/_filters", "jobs/_list")),
    "job": Page(
        job_page,
        (
            "job/_state",
            "job/_why",
            "job/_figures",
            "job/_charts",
            "job/_numbers",
            "job/_devices",
            "job/_versions",
            "job/_rounds",
            "job/_events",
        ),
    ),
}


def context(topic: Topic, *, now: datetime) -> Context:
    """Return the context of a page; the tenant must have been entered."""
    page = PAGES[topic.page]
    templates = [f"frontend/{name}.html" for name in page.sections]
    return {**page.context(topic, now), "sections": templates}


def sections(topic: Topic, *, now: datetime) -> dict[str, str]:
    """Return each section of a page as HTML that replaces its older self."""
    shown = {**context(topic, now=now), "is_push": True}
    return {name: render_to_string(name, shown) for name in shown["sections"]}


def sections_in_scope(topic: Topic, *, now: datetime) -> dict[str, str]:
    """Return a page's sections from a transaction of their own, inside the tenant's walls."""
    with scopes.scope(topic.tenant_id):
        return sections(topic, now=now)
