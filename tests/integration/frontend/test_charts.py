"""What the charts of a job's page show, and of whose jobs."""

import itertools
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.urls import reverse

from frontend import charts
from frontend.asked import Asked
from frontend.selectors.measures import Point
from jobs.models import Round
from tenants.scopes import system_scope
from tests.integration import factories


def source(points, *, letter="A", name="first"):
    return charts.Source(UUID(int=1), name, letter, factories.NOW, {("train", "loss"): points})


def points(*values):
    return [
        Point(number, factories.later(60 * number), value)
        for number, value in enumerate(values, start=1)
    ]


@pytest.fixture
def drawn(world, finished_rounds):
    """Two jobs of one tenant with measured rounds, and one of another tenant."""
    first = factories.job(world.tenant, admitted=False, name="first", rounds__count=9)
    second = factories.job(world.tenant, admitted=False, name="second", rounds__count=9)
    foreign = factories.job(world.other, admitted=False, name="foreign", rounds__count=9)
    for job in (first, second, foreign):
        finished_rounds(job, 1, 4)
    return first, second, foreign


def show(browser, job, query=""):
    return browser.get(reverse("frontend:job", args=[job.id]) + query)


def test_it_places_points_between_the_ends_of_both_axes():
    panel = charts.panel("loss", 0, [source(points(4, 2, 0))], by="round")
    assert panel.lines[0].points == "200.0,0.0 400.0,500.0 600.0,1000.0"
    assert [tick.text for tick in panel.y_ticks] == ["0", "1", "2", "3", "4"]
    assert [tick.text for tick in panel.x_ticks] == ["0", "1", "2", "3", "4", "5"]
    assert (panel.x_title, panel.y_title) == ("Round", "Mean loss")


def test_it_counts_time_from_the_job_s_start_in_a_unit_that_fits():
    panel = charts.panel("loss", 0, [source(points(4, 2, 1, 1))], by="time")
    assert panel.x_title == "Time since the job started (minutes)"
    assert [tick.text for tick in panel.x_ticks] == ["0", "1", "2", "3", "4"]
    assert panel.lines[0].points.split()[-1] == "1000.0,750.0"


@pytest.mark.parametrize("values", [(0,), (0.5, 0.5), (-3, -3), (1e9, 2e9), (1e-7, 3e-7)])
def test_it_draws_any_values_within_the_drawing(values):
    panel = charts.panel("loss", 0, [source(points(*values))], by="round")
    places = [float(one) for one in panel.lines[0].points.replace(",", " ").split()]
    assert all(0 <= place <= 1000 for place in places)
    assert len(panel.y_ticks) >= 2


def test_it_sets_no_label_upon_another():
    jobs = [source(points(2, 1), letter=letter, name=letter) for letter in "ABC"]
    heights = [line.end.y for line in charts.panel("loss", 0, jobs, by="round").labels]
    assert min(b - a for a, b in itertools.pairwise(heights)) >= charts.LABEL_GAP


@pytest.mark.parametrize("last", [0, 9])
def test_labels_stay_off_the_axis_where_all_lines_end_at_it(last):
    jobs = [source(points(0, 9, last), letter=letter, name=letter) for letter in "ABCDEF"]
    labels = charts.panel("loss", 0, jobs, by="round").labels
    heights = [line.end.y for line in labels]
    assert [line.letter for line in labels] == list("ABCDEF")
    assert min(b - a for a, b in itertools.pairwise(heights)) >= charts.LABEL_GAP - 0.01
    assert 2 <= heights[0] < heights[-1] <= 97


def test_it_draws_the_metrics_that_were_asked_for(world, browse, drawn):
    first, *_ = drawn
    with system_scope():
        for row in Round.objects.filter(job=first, kind="train"):
            Round.objects.filter(id=row.id).update(metrics=row.metrics | {"grad_norm": row.number})
    browser = browse(world.viewer)
    answer = show(browser, first, "?metric=grad_norm&by=time")
    [panel] = answer.context["measured"].panels
    assert (panel.name, len(panel.lines)) == ("grad_norm", 1)
    assert panel.y_title == "grad_norm, as reported"
    page = answer.content.decode()
    assert "Time since the job started" in page
    assert 'href="?metric=grad_norm&amp;metric=loss&amp;by=time#charts"' in page
    assert "at 4.0 s" in page  # in the table
    unknown = show(browser, first, "?metric=<b>").content.decode()
    assert "Nobody has measured &#x27;&lt;b&gt;&#x27; yet." in unknown


def test_it_draws_jobs_of_the_tenant_over_each_other(world, browse, drawn):
    first, second, _ = drawn
    page = show(browse(world.viewer), first, f"?compare={second.id}").content.decode()
    assert page.count("<polyline") == 8
    assert "B training loss" in page
    assert f'id="without-{second.id}"' in page
    with_list = show(browse(world.viewer), first).content.decode()
    assert f'<option value="{second.id}">second' in with_list
    assert "foreign" not in with_list


def test_it_tells_a_foreign_job_as_one_that_never_was(world, browse, drawn):
    first, _, foreign = drawn
    browser = browse(world.viewer)
    notes = []
    for name in (foreign.id, uuid4(), "nonsense"):
        answer = show(browser, first, f"?compare={name}")
        assert answer.content.decode().count("<polyline") == 4
        assert "foreign" not in answer.content.decode()
        notes.append(answer.context["measured"].notes)
    assert notes[0] == notes[1] == notes[2]
    assert notes[0] == [
        "1 job to compare with is left out: there is no such job in your tenant. "
        "Pick from the list."
    ]
    many = "&".join(f"compare={uuid4()}" for _ in range(7))
    assert "At most 5 jobs are compared" in show(browser, first, f"?{many}").content.decode()
    itself = show(browser, first, f"?compare={first.id}").content.decode()
    assert "not compared with itself" in itself


def test_it_keeps_all_that_was_asked_for_in_one_spelling():
    wanted = "metric=f1&compare=00000000-0000-0000-0000-000000000001&by=time&best=f1&before=7"
    asked = Asked.read(wanted)
    assert asked.query == wanted
    assert Asked.read(asked.query) == asked
    assert asked.link(before=None).endswith("&best=f1")
    assert Asked.read("by=up&order=up&before=x&rounds=0&metric=%00&page=2") == Asked()


def test_it_thins_long_series_evenly_and_keeps_the_newest(world, browse, finished_rounds):
    from frontend.selectors import measures

    job = factories.job(world.tenant, admitted=False, name="long", rounds__count=999)
    with system_scope():
        Round.objects.bulk_create(
            Round(
                tenant_id=job.tenant_id, job=job, number=number, kind="train", status="finished",
                outcome="completed", demand=5, target=5, quorum=5, base_version=number - 1,
                base_digest="b" * 64, base_size=1, seed=1, selection_s=1, deadline_s=1,
                metrics={"loss": 1.0}, opened_at=factories.NOW,
                selection_ends_at=factories.NOW,
                finished_at=factories.NOW + timedelta(seconds=number),
            )
            for number in range(1, 1000)
        )  # fmt: skip
        found = measures.series([job])[job.id]["train", "loss"]
    assert measures.POINTS / 2 < len(found) <= measures.POINTS + 1
    assert found[-1].number == 999
    gaps = {b.number - a.number for a, b in itertools.pairwise(found)}
    assert max(gaps) == 5
