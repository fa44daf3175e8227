"""A real headless Chromium signs in and watches a round arrive on the running platform."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform

PASSWORD = "watching-rounds"
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH; apt install chromium"
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    # The first to name the tenant sets the password of its owner.
    platform.manage("provision", "--tenant", "watch", "--pool", "spare", "--password", PASSWORD)
    fleet = Fleet(platform, tmp_path_factory.mktemp("watch"), slug="watch", count=8)
    try:
        yield fleet.start()
    finally:
        fleet.stop()


@pytest.fixture(params=["light", "dark"])
def browser_page(request: pytest.FixtureRequest, platform: RunningPlatform) -> Iterator[Page]:
    """A page that fails the test on any console error or request that leaves the host."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(color_scheme=request.param)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on(
            "console",
            lambda line: faults.append(f"console: {line.text}") if line.type == "error" else None,
        )
        page.on("request", lambda sent: faults.extend(_foreign(sent.url, platform)))
        page.on("websocket", lambda socket: faults.extend(_foreign(socket.url, platform)))
        yield page
        browser.close()
    assert not faults


def _foreign(url: str, platform: RunningPlatform) -> list[str]:
    parts = urlsplit(url)
    ours = parts.netloc == urlsplit(platform.url).netloc or parts.scheme == "data"
    return [] if ours else [f"request to {url}"]


def sign_in(page: Page, platform: RunningPlatform, then: str) -> None:
    """Ask for a page, and come to it through the form."""
    page.goto(platform.url + then)
    page.get_by_label("User name").fill("watch-owner")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(platform.url + then)


def test_a_round_arrives_on_the_job_page_by_itself(
    platform: RunningPlatform, fleet: Fleet, browser_page: Page, tmp_path: Path
) -> None:
    job = fleet.submit(rounds=8, demand=6, seconds=0.5)
    page = browser_page
    sign_in(page, platform, f"/jobs/{job}/")
    page.wait_for_selector("html[data-live]")
    page.evaluate("window.notReloaded = true")
    seen = rounds_done(page)
    page.wait_for_function(
        "seen => parseInt(document.querySelector('#figures dd').textContent) > seen",
        arg=seen,
        timeout=60_000,
    )
    expect(page.locator("#rounds tbody tr").first).to_be_visible()
    page.wait_for_selector("#charts .curve", state="attached")
    page.wait_for_function(
        "() => document.querySelector('#state .state').textContent === 'Completed'", timeout=60_000
    )
    assert rounds_done(page) == 8
    assert page.evaluate("window.notReloaded")
    chart = page.get_by_role("group", name="Chart: Loss")
    expect(chart.locator(".dot")).to_have_count(8)
    chart.focus()
    page.keyboard.press("End")
    expect(chart.get_by_role("status")).to_contain_text("Round 8")
    with page.expect_download() as download:
        page.locator("#versions a").first.click()
    assert Path(download.value.path()).stat().st_size > 0


def test_every_page_is_quiet_and_fits_a_phone(
    platform: RunningPlatform, fleet: Fleet, browser_page: Page
) -> None:
    page = browser_page
    page.set_viewport_size({"width": 360, "height": 740})
    sign_in(page, platform, "/")
    for address in ("/", "/jobs/", "/devices/"):
        page.goto(platform.url + address)
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/sign-in/"))


def rounds_done(page: Page) -> int:
    return int(page.locator("#figures dd").first.inner_text().split()[0])
