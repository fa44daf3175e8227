"""The eligibility explorer: counts as a constraint is typed, and faults that are pointed at."""

import html

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clients.models import Device
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def explore(browse):
    """Return a function that asks for a constraint as somebody: (answer, its text)."""

    def ask(user, q, headers=None, **more):
        answer = browse(user).get("/devices/eligible/", {"q": q, **more}, headers=headers)
        return answer, html.unescape(answer.content.decode())

    return ask


@pytest.fixture
def fleet(world):
    """60 shared devices: 20 of them linux, of which 10 have 8 GB; and 3 of the tenant's own."""
    for number in range(60):
        os, memory_mb = ("linux" if number < 20 else "ios"), (8192 if number < 10 else 2048)
        factories.device(world.shared, os=os, memory_mb=memory_mb)
    made = [factories.device(world.private, os="linux", memory_mb=8192) for _ in range(3)]
    with system_scope():
        Device.objects.filter(id__in=[one.id for one in made]).update(seen_at=timezone.now())
    return world


def told(answer):
    found = answer.context["found"]
    return [one.left.text for one in found.steps]


def test_it_counts_term_by_term(fleet, explore):
    answer, text = explore(fleet.viewer, "os = linux and memory_mb >= 4096")
    assert answer.status_code == 200
    assert told(answer) == ["23", "13"]
    assert answer.context["found"].counts.online.text == "3"
    assert '"min": 4096.0' in text  # as a job file has it
    answer, _ = explore(fleet.stranger, "os = linux and memory_mb >= 4096")
    assert told(answer) == ["20", "10"]  # not the three of another tenant's pool


def test_it_counts_within_the_pools_that_are_ticked(fleet, explore):
    answer, text = explore(fleet.viewer, "os = linux", pool="tablets")
    assert told(answer) == ["3"]
    assert 'value="tablets" checked' in text
    answer, text = explore(fleet.stranger, "os = linux", pool="tablets")
    assert answer.status_code == 422
    assert "No pool 'tablets'; yours are fleet" in text


def test_it_gives_no_small_count_away_neither_by_a_term_nor_by_what_a_term_takes(fleet, explore):
    factories.device(fleet.shared, os="plan9", memory_mb=1024)
    answer, _ = explore(fleet.stranger, "os = plan9")
    assert told(answer) == ["<5"]
    answer, _ = explore(fleet.stranger, "os in linux, ios and memory_mb >= 2048")
    assert told(answer) == ["57 to 60", "57 to 60"]
    answer, _ = explore(fleet.stranger, "memory_mb >= 2048 and os = plan9")
    assert told(answer) == ["57 to 60", "0"]


@pytest.mark.parametrize(
    ("asked", "at", "why"),
    [
        ("os = linux and memory_mb > 1", "> 1", "bounds are inclusive"),
        ("os = linux and memory >= 1", "memory >= 1", "unknown attribute 'memory'"),
        ("os = linux and memory_mb = big", "memory_mb = big", "memory_mb is a number"),
        ("memory_mb >= 9 and memory_mb <= 2", "memory_mb <= 2", "min 9 is above max 2"),
        ("os >= 2", "os >= 2", "os is a string"),
    ],
)
def test_it_points_at_what_is_wrong(world, explore, asked, at, why):
    answer, text = explore(world.viewer, asked)
    assert answer.status_code == 422
    assert f"look at column {asked.index(at) + 1}" in text
    assert f"<mark>{at}</mark>" in text
    assert why.lower() in text.lower()


def test_it_answers_who_types_on_with_the_counts_alone(world, explore):
    answer, text = explore(world.viewer, "os =", headers={"HX-Request": "true"})
    assert answer.status_code == 200  # a half typed term is no failure of a request
    assert text.strip().startswith('<div id="found">')
    assert "a value is missing after “=”" in text.lower()
    assert "HX-Request" in answer.headers["Vary"]
    _, text = explore(world.viewer, "os = linux")
    assert "<html" in text


def test_it_reads_a_constraint_for_a_form_and_says_what_it_leaves(fleet, browse):
    def read(q):
        headers = {"Accept": "application/json"}
        return browse(fleet.stranger).get("/devices/eligible/", {"q": q}, headers=headers).json()

    assert read("os = linux and memory_mb >= 4096") == {
        "public": {"os": {"in": ["linux"]}, "memory_mb": {"min": 4096.0}},
        "told": "10 of 60 known devices fit.",
        "fault": "",
    }
    assert read("os =") == {
        "public": None, "told": "", "fault": "A value is missing after “=” (column 5).",
    }  # fmt: skip


def test_it_says_what_to_do_without_devices_and_where_none_fits(world, explore):
    assert "Create an enrolment token" in explore(world.viewer, "")[1]
    factories.device(world.private, os="linux")
    assert "Every device fits" in explore(world.viewer, "")[1]
    assert "No device fits." in explore(world.viewer, "os = ios")[1]


def test_it_asks_as_many_queries_for_many_devices_and_terms(fleet, browse):
    browser = browse(fleet.viewer)

    def queries(asked):
        with CaptureQueriesContext(connection) as seen:
            assert browser.get("/devices/eligible/", {"q": asked}).status_code == 200
        return len(seen)

    queries("")  # the first look of a session asks more
    few = queries("os = linux")
    for _ in range(5):
        factories.device(fleet.shared, os="linux", memory_mb=512)
    assert queries("os = linux and memory_mb >= 1 and cpu_score >= 1") == few <= 25
