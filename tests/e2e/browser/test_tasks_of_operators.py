"""What operators come to the console for, each once from beginning to end."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser.stage import Stage


def newest(console: Page) -> Locator:
    return console.locator("#result_list tbody tr").first


def add(console: Page, stage: Stage, path: str, choice: tuple[str, str], reason: str) -> None:
    console.goto(f"{stage.platform.url}/admin/{path}add/")
    label, value = choice
    console.get_by_label(label).select_option(value)
    console.get_by_label("Reason").fill(reason)
    console.get_by_role("button", name="Save", exact=True).click()
    expect(newest(console)).to_contain_text(reason)


def test_the_policy_is_changed_and_changed_back(console: Page, stage: Stage) -> None:
    history = "scheduling/sharingpolicy/"
    add(console, stage, history, ("Name", "fair"), "as it was")
    add(console, stage, history, ("Name", "fifo"), "a mistake")
    row = console.locator("#result_list tbody tr").filter(has_text="as it was")
    row.get_by_role("button", name="Choose again").click()
    expect(console.get_by_text("The policy is fair again.")).to_be_visible()
    expect(newest(console)).to_contain_text("fair")


def test_the_fleet_is_held_tenants_read_why_and_it_goes_on(
    console: Page, page: Page, stage: Stage
) -> None:
    why = "the network is rewired"
    add(console, stage, "jobs/maintenance/", ("Mode", "paused"), why)
    expect(console.get_by_text(why).first).to_be_visible()
    job = stage.fleet.submit(rounds=1, demand=5)
    page.goto(f"{stage.platform.url}/jobs/{job}/")
    expect(page.locator("#live")).to_contain_text(why)
    add(console, stage, "jobs/maintenance/", ("Mode", "normal"), "done")
    expect(console.get_by_text(why)).to_have_count(1)  # in the history, and no longer above it
    expect(page.locator("#state .state")).to_have_text("Completed")
