"""What the tenant has used: the page, and the same lines as CSV."""

from __future__ import annotations

import csv
import dataclasses

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from aggregation import usage as counted
from frontend import usage_chart
from frontend.access import member_page
from frontend.selectors import usage as usage_selectors
from frontend.views.pages import page
from propius import spreadsheet
from tenants.access import READ_JOBS, Principal


@require_safe
@member_page(READ_JOBS)
def usage(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show device-hours, rounds and bytes by day, job and member, against the quota."""
    found = usage_selectors.page(
        tenant_id=principal.tenant_id, days=_days(request), now=timezone.now()
    )
    shown = {
        "usage": found,
        "periods": usage_selectors.PERIODS,
        "chart": usage_chart.chart(found.by_day),
    }
    return page(request, principal, "frontend/usage/page.html", shown)


@require_safe
@member_page(READ_JOBS)
def usage_csv(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Send a line for each job and day."""
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = 'attachment; filename="usage.csv"'
    writer = csv.writer(answer)
    writer.writerow([field.name for field in dataclasses.fields(counted.Line)])
    for line in counted.lines(days=_days(request), now=timezone.now()):
        writer.writerow([spreadsheet.plain(one) for one in dataclasses.astuple(line)])
    return answer


def _days(request: HttpRequest) -> int:
    # Looked up, not read as a number: that fails beyond some thousand digits.
    periods = {str(one): one for one in usage_selectors.PERIODS}
    return periods.get(request.GET.get("days", ""), 30)
