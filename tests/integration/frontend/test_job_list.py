"""The list of jobs: sorted, paged, and what it says of each."""

import html
import re

import pytest

from jobs.models import Job, Round
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def listed(browse):
    """Return a function that opens the list: (its names in order, its text)."""

    def look(user, **asked):
        answer = browse(user).get("/jobs/", asked)
        return [one.name for one in answer.context["jobs"].lines], html.unescape(
            answer.content.decode()
        )

    return look


@pytest.fixture
def jobs(world):
    """Three jobs beside that of the world: names, and rounds done of ten."""
    with system_scope():
        for name, done in (("beta", 9), ("Alpha", 3), ("gamma", 0)):
            job = factories.job(world.tenant, name=name, rounds__count=10)
            Job.objects.filter(id=job.id).update(version=done)
        Job.objects.filter(name="gamma").update(status="paused")
    return world


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", ["gamma", "Alpha", "beta", "digits-mlp"]),
        ("submitted", ["digits-mlp", "beta", "Alpha", "gamma"]),
        ("name", ["Alpha", "beta", "digits-mlp", "gamma"]),
        ("-progress", ["beta", "Alpha", "gamma", "digits-mlp"]),
        ("-state", ["gamma", "Alpha", "beta", "digits-mlp"]),
        ("spec", ["gamma", "Alpha", "beta", "digits-mlp"]),
    ],
)
def test_it_sorts_by_what_is_asked_for_equal_ones_by_the_newest(jobs, listed, sort, order):
    assert listed(jobs.viewer, sort=sort)[0] == order


def test_a_head_says_how_it_sorts_and_a_click_turns_it_round_within_the_filter(jobs, listed):
    _, text = listed(jobs.viewer, sort="name", state="active", q="a")
    assert re.search(r'aria-sort="ascending"><a id="sort-name" href="([^"]+)"', text).group(1) == (
        "/jobs/?state=active&q=a&sort=-name"
    )
    assert text.count("aria-sort") == 1
    assert 'id="filter-completed" href="/jobs/?state=completed&q=a&sort=name"' in text
    assert '<input type="hidden" name="sort" value="name">' in text


def test_pages_of_a_sorted_list_show_each_job_once(jobs, listed):
    with system_scope():
        for _ in range(24):
            factories.job(jobs.tenant, name="same")
    first, text = listed(jobs.viewer, sort="name")
    second, _ = listed(jobs.viewer, sort="name", page=2)
    assert len(first) == 25
    assert sorted(first + second) == sorted(
        [*["same"] * 24, "Alpha", "beta", "digits-mlp", "gamma"]
    )
    assert 'href="?sort=name&page=2">Next' in text


def test_it_shows_the_newest_measure_by_its_name_where_no_accuracy_is_reported(
    world, listed, finished_rounds
):
    finished_rounds(world.job, 2, 3)
    assert "75.0\u202f% <small>accuracy</small>" in listed(world.viewer)[1]
    with system_scope():
        Round.objects.filter(job=world.job).update(metrics={"loss": 0.25, "mae": 3})
    assert "0.250 <small>loss</small>" in listed(world.viewer)[1]


def test_it_tells_who_may_not_submit_what_they_can_do(world, browse, listed):
    with system_scope():
        Job.objects.all().delete()
    for path in ("/", "/jobs/"):
        for user, may in ((world.owner, True), (world.viewer, False)):
            text = browse(user).get(path).content.decode()
            assert "No job yet." in text
            assert ("/jobs/new/" in text) is may
            assert ("Your role lets you look at jobs" in text) is not may
