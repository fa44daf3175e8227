"""What operators come to the console for, each once from beginning to end."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser.stage import SLUG, Stage


def newest(console: Page) -> Locator:
    return console.locator("#result_list tbody tr").first


def add(
    console: Page, stage: Stage, path: str, choice: tuple[str, str], reason: str, **more: str
) -> None:
    """Fill in the form that adds a row, and see the row on top of the history."""
    console.goto(f"{stage.platform.url}/admin/{path}add/")
    label, value = choice
    console.get_by_label(label).select_option(value)
    for name, text in more.items():
        console.get_by_label(name.capitalize()).fill(text)
    console.get_by_label("Reason").fill(reason)
    console.get_by_role("button", name="Save", exact=True).click()
    expect(newest(console)).to_contain_text(reason)


def choose_again(console: Page, reason: str) -> None:
    """Go back to the policy fair, which was chosen for ``reason``."""
    row = console.locator("#result_list tbody tr").filter(has_text=reason)
    row.get_by_role("button", name="Choose again").click()
    expect(console.get_by_text("The policy is fair again.")).to_be_visible()
    expect(newest(console)).to_contain_text("fair")


def test_the_policy_is_changed_and_changed_back(console: Page, stage: Stage) -> None:
    history = "scheduling/sharingpolicy/"
    add(console, stage, history, ("Name", "fair"), "as it was")
    add(console, stage, history, ("Name", "fifo"), "a mistake")
    choose_again(console, "as it was")


def test_the_fleet_is_held_tenants_read_why_and_it_goes_on(
    console: Page, page: Page, stage: Stage
) -> None:
    why = "the network is rewired"
    add(console, stage, "jobs/maintenance/", ("Mode", "paused"), why)
    try:
        expect(console.get_by_text(why).first).to_be_visible()
        job = stage.fleet.submit(rounds=1, demand=5)
        page.goto(f"{stage.platform.url}/jobs/{job}/")
        expect(page.locator("#live")).to_contain_text(why)
    finally:  # other tests share the platform
        add(console, stage, "jobs/maintenance/", ("Mode", "normal"), "done")
    expect(console.get_by_text(why)).to_have_count(1)  # in the history, and no longer above it
    expect(page.locator("#state .state")).to_have_text("Completed")


def test_a_workload_is_kept_from_devices_and_let_go(console: Page, stage: Stage) -> None:
    quarantine = ("Kind", "workload")
    why = "it fills the disk"
    add(console, stage, "jobs/quarantine/", quarantine, why, target="fills_disks")
    expect(newest(console)).to_contain_text("in quarantine")
    newest(console).get_by_role("button", name="Lift").click()
    expect(console.get_by_text("fills_disks is offered to devices again.")).to_be_visible()
    expect(newest(console)).to_contain_text("lifted")


def test_a_version_is_asked_of_some_devices_then_of_more(console: Page, stage: Stage) -> None:
    where = ("Pool", f"{SLUG}-own")  # nobody is there who would be sent away
    add(
        console, stage, "clients/sdkrequirement/", where, "the next one", minimum="99.0",
        percent="10",
    )  # fmt: skip
    expect(newest(console)).to_contain_text("10 %")
    newest(console).get_by_role("button", name="Raise").click()
    expect(newest(console)).to_contain_text("25 %")
    newest(console).get_by_role("button", name="Roll back").click()
    expect(newest(console)).to_contain_text("rolled back to 10 %")


def test_a_change_is_previewed_before_it_is_made(console: Page, stage: Stage) -> None:
    add(console, stage, "scheduling/sharingpolicy/", ("Name", "fair"), "until it is previewed")
    console.goto(f"{stage.platform.url}/admin/scheduling/sharingpolicy/")
    console.get_by_role("link", name="Preview a change").click()
    console.get_by_label("Policy").select_option("fifo")
    console.get_by_role("button", name="Preview").click()
    expect(console.locator("#preview")).to_contain_text("Both sides")
    console.get_by_label("Reason").fill("shorter waits")
    console.get_by_role("button", name="Apply").click()
    expect(newest(console)).to_contain_text("shorter waits")
    choose_again(console, "until it is previewed")  # other tests share the platform
