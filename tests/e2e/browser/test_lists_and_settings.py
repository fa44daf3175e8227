"""What members do beside watching a job: find one, hold it, let devices in and out, look back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.browser import chromium
from tests.e2e.browser.stage import Stage

KOLKATA = "Asia/Kolkata"


@pytest.fixture
def waiting(stage: Stage) -> Iterator[str]:
    """A job that outlasts the test: it mostly waits, for the stage's own goes first."""
    job = stage.fleet.submit(rounds=1000, demand=6, name="waits its turn", priority=-10)
    yield job
    stage.call("POST", f"/jobs/{job}/cancel")


def test_jobs_are_filtered_searched_and_sorted(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/jobs/")
    page.get_by_role("navigation", name="Filter by state").get_by_text("Completed").click()
    page.get_by_role("columnheader", name="Job").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Job")).to_have_attribute("aria-sort", "ascending")
    names = page.locator(".jobs tbody th").all_inner_texts()
    assert names == sorted(names, key=str.lower)
    assert len(names) == len(stage.finished)
    page.get_by_label("Search by name").press_sequentially(names[0])
    expect(page).to_have_url(re.compile("state=completed&sort=name&q="))
    expect(page.locator(".jobs tbody tr")).to_have_count(names.count(names[0]))
    page.get_by_label("Search by name").fill("no such job")
    expect(page.locator("#list")).to_contain_text("No job fits")


def test_a_job_is_held_goes_on_and_is_cloned(page: Page, stage: Stage, waiting: str) -> None:
    page.goto(f"{stage.platform.url}/jobs/{waiting}/")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state .state")).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#state .state")).not_to_have_text("Paused")
    page.get_by_role("link", name="Clone and change").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("waits its turn")


def test_a_pool_is_made_a_token_for_it_shown_once_and_revoked(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/devices/")
    pool = page.locator("form").filter(has_text="New private pool")
    pool.get_by_label("Name").fill("ward-nine")
    pool.get_by_role("button", name="Create the pool").click()
    token = page.locator("form").filter(has_text="New enrolment token")
    token.get_by_label("Pool").select_option("ward-nine")
    token.get_by_label("Name").fill("ward nine")
    token.get_by_role("button", name="Create the token").click()
    expect(page.locator("#secret")).to_contain_text("propius device enrol")
    page.goto(f"{stage.platform.url}/devices/")
    expect(page.locator("#secret")).to_have_count(0)
    row = page.locator("#tokens tbody tr").filter(has_text="ward nine")
    row.get_by_role("button", name="Revoke ward nine").click()
    page.get_by_role("button", name="Revoke the token").click()
    expect(row).to_contain_text("Revoked")


def test_a_device_is_shut_out(page: Page, stage: Stage) -> None:
    device = stage.call("GET", "/devices")["results"][-1]
    page.goto(f"{stage.platform.url}/devices/{device['id']}/")
    page.get_by_role("button", name="Revoke…").click()
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Revoke…").click()
    page.get_by_role("button", name="Revoke the device").click()
    expect(page.locator("h1 .state")).to_have_text("Revoked")


def test_the_audit_is_narrowed_to_an_action(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/settings/audit/")
    page.get_by_label("Action").select_option("made a webhook")
    page.get_by_role("button", name="Show").click()
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text("https://hooks.example.org/propius")
    assert all("made a webhook" in one for one in rows.all_inner_texts())


def test_times_are_told_in_the_viewer_s_zone(
    browser: Browser, owner: BrowserContext, stage: Stage
) -> None:
    with browser.new_context(timezone_id=KOLKATA, storage_state=owner.storage_state()) as context:
        page = context.new_page()
        page.goto(f"{stage.platform.url}/settings/audit/")
        time = page.locator("tbody time").first
        at = datetime.fromisoformat(str(time.get_attribute("datetime")))
        expect(time).to_contain_text(f"{at.astimezone(ZoneInfo(KOLKATA)):%H:%M:%S}")


def test_a_page_without_its_socket_becomes_true_by_asking(
    browser: Browser, owner: BrowserContext, stage: Stage, waiting: str
) -> None:
    with browser.new_context(storage_state=owner.storage_state()) as context:
        page = context.new_page()
        page.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
        page.goto(f"{stage.platform.url}/jobs/{waiting}/")
        stage.call("POST", f"/jobs/{waiting}/cancel")
        expect(page.locator("#state .state")).to_have_text("Cancelled")
        expect(page.locator("#link")).to_contain_text("Not live")


def test_on_a_phone_in_the_dark_everything_can_be_reached(
    browser: Browser, owner: BrowserContext, stage: Stage
) -> None:
    with browser.new_context(
        viewport=chromium.PHONE, color_scheme="dark", storage_state=owner.storage_state()
    ) as context:
        page = context.new_page()
        faults = chromium.watch(page, stage.platform.url)
        page.goto(f"{stage.platform.url}/")
        for name in ("Overview", "Jobs", "Devices", "Usage", "Settings"):
            expect(page.get_by_role("link", name=name, exact=True)).to_be_in_viewport(ratio=1)
        page.get_by_role("link", name="Devices", exact=True).click()
        expect(page.locator(".pools td[data-label=Working]").first).to_be_visible()
        assert page.locator(".pools").evaluate("one => one.offsetWidth") <= 360
        page.get_by_role("link", name="Jobs", exact=True).click()
        page.get_by_role("columnheader", name="Progress").get_by_role("link").click()
        page.get_by_label("Search by name").fill("no such job")
        expect(page.locator("#list")).to_contain_text("No job fits")
        assert faults == []
