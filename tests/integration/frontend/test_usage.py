"""Usage by day, job and member: counted from rounds that closed, kept when they go."""

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from aggregation import usage
from aggregation.models import UsageDay
from frontend import usage_chart
from frontend.selectors import usage as usage_selectors
from jobs.models import Assignment, Round
from tenants.scopes import scope, system_scope
from tests.integration import factories


def close(world, *, at, seconds, devices=3, job=None):
    """A round of ``job`` that closed at ``at``; each device had it for ``seconds``."""
    round_ = factories.open_round(job or world.job)
    with system_scope():
        for number in range(devices):
            Assignment.objects.create(
                tenant_id=round_.tenant_id, job_id=round_.job_id, round=round_,
                device=factories.device(world.private), status="reported" if number else "failed",
                bound_at=at - timedelta(seconds=seconds), accepted_at=at, ended_at=at,
                lease_expires_at=at,
            )  # fmt: skip
        Round.objects.filter(id=round_.id).update(
            closed_at=at, base_size=100, status="finished", outcome="completed", finished_at=at
        )


def test_it_sums_by_day_job_and_member_and_gives_the_lines_as_csv(world, browse):
    now = timezone.now()
    close(world, at=now, seconds=1_200)
    page = browse(world.viewer).get("/usage/", {"days": "7"}).context["usage"]
    assert (page.total.device_hours, page.total.rounds, page.total.reported) == (1.0, 1, 2)
    assert page.total.down_bytes == 300
    assert [one.label for one in page.by_job] == ["digits-mlp"]
    assert [one.percent for one in page.by_day] == [0.0] * 6 + [100.0]
    text = browse(world.viewer).get("/usage.csv").content.decode()
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["job"], line["device_seconds"]) == ("digits-mlp", "3600.0")
    assert browse(world.stranger).get("/usage/").context["usage"].by_job == []


def test_it_draws_the_days_with_an_axis_and_figures_to_read(world, browse):
    assert usage_chart.chart([]) is None
    close(world, at=timezone.now(), seconds=1_200)
    answer = browse(world.viewer).get("/usage/", {"days": "7"})
    chart = answer.context["chart"]
    assert [one.text for one in chart.y_ticks] == ["0", "0.5", "1"]
    assert [(one.top, one.height) for one in chart.bars] == [(0, 1000)]
    data = chart.reading.data
    assert len(data["stops"]) == 7
    assert {row["label"]: row["points"][-1][1] for row in data["rows"]} == {
        "Device-hours": "1.00", "Rounds": "1", "Reports": "2",
    }  # fmt: skip
    text = answer.content.decode()
    assert 'aria-label="Chart: device-hours by day over the last 7 days.' in text
    assert "The same as a table" in text


def test_what_is_not_named_is_summed_up_so_that_rows_add_up():
    sums = [usage_selectors.Sum(at, str(at), 1, 2, 0.5, 10, 20) for at in range(53)]
    shown = usage_selectors._cut(sums, "job")
    assert (len(shown), shown[-1].label, shown[-1].key) == (51, "and 3 more jobs", None)
    assert sum(one.device_hours for one in shown) == 26.5
    assert sum(one.up_bytes for one in shown) == 53 * 20


@pytest.mark.parametrize("days", ["9" * 5000, "\u0667", "-7", "x"])
def test_it_shows_thirty_days_for_a_period_that_there_is_not(world, browse, days):
    browser = browse(world.viewer)
    assert browser.get("/usage/", {"days": days}).context["usage"].days == 30
    assert browser.get("/usage.csv", {"days": days}).status_code == 200


def test_what_is_rolled_up_stays_when_its_rows_have_gone(world):
    now = timezone.now().replace(hour=12)
    close(world, at=now - timedelta(days=1), seconds=60)
    with system_scope():
        assert usage.roll_up(now=now) == 1
        assert usage.roll_up(now=now) == 1
        Assignment.objects.all().delete()
    with scope(world.tenant.id):
        (line,) = usage.lines(days=7, now=now)
        assert line.device_seconds == pytest.approx(180)
        assert usage.lines(days=1, now=now) == []
        assert UsageDay.objects.count() == 1
    with scope(world.other.id):
        assert usage.lines(days=7, now=now) == []


def test_days_that_were_never_counted_are_made_up_for(world):
    now = timezone.now().replace(hour=12)
    close(world, at=now - timedelta(days=5), seconds=60)
    with system_scope():
        usage.roll_up(now=now)
    with scope(world.tenant.id):
        assert [one.rounds for one in usage.lines(days=7, now=now)] == [1]


def test_open_rounds_count_as_of_now(world):
    now = timezone.now()
    round_ = factories.open_round(world.job)
    with system_scope():
        Assignment.objects.create(
            tenant_id=round_.tenant_id, job_id=round_.job_id, round=round_,
            device=factories.device(world.private), bound_at=now - timedelta(seconds=90),
            lease_expires_at=now,
        )  # fmt: skip
    with scope(world.tenant.id):
        (line,) = usage.lines(days=1, now=now)
    assert (line.device_seconds, line.reported) == (pytest.approx(90), 0)


def test_a_name_that_a_spreadsheet_would_run_is_marked_as_text(world, browse):
    with system_scope():
        type(world.job).objects.filter(id=world.job.id).update(name="=HYPERLINK(1)")
    close(world, at=timezone.now(), seconds=5)
    assert "'=HYPERLINK(1)" in browse(world.viewer).get("/usage.csv").content.decode()
