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
    console.get_by_role("link", name="Preview a change").first.click()  # of the sidebar
    console.get_by_label("Policy").select_option("fifo")
    console.get_by_role("button", name="Preview").click()
    expect(console.locator("#preview")).to_contain_text("Both sides")
    console.get_by_label("Reason").fill("shorter waits")
    console.get_by_role("button", name="Apply").click()
    expect(newest(console)).to_contain_text("shorter waits")
    choose_again(console, "until it is previewed")  # other tests share the platform


def test_a_policy_is_chosen_with_parameters(console: Page, stage: Stage) -> None:
    history = "scheduling/sharingpolicy/"
    add(console, stage, history, ("Name", "fair"), "before parameters")
    add(console, stage, history, ("Name", "irs"), "long waits", parameters='{"max_wait_s": 300}')
    expect(newest(console)).to_contain_text("max_wait_s")
    expect(newest(console)).to_contain_text("in force")
    expect(newest(console).get_by_role("button", name="Choose again")).to_have_count(0)
    choose_again(console, "before parameters")


def test_a_tenant_gets_a_share(console: Page, stage: Stage) -> None:
    shares = "scheduling/tenantshare/"
    console.goto(f"{stage.platform.url}/admin/{shares}add/")
    console.get_by_label("Tenant").select_option(label=SLUG)
    console.get_by_label("Weight").fill("2")
    console.get_by_label("Reason").fill("they pay for two")
    console.get_by_role("button", name="Save", exact=True).click()
    expect(console.locator("#result_list tbody tr").filter(has_text=SLUG)).to_contain_text("2.0")
    console.goto(f"{stage.platform.url}/admin/scheduling/sharechange/")
    expect(newest(console)).to_contain_text("they pay for two")


def test_an_attribute_is_added_to_the_schema(console: Page, stage: Stage) -> None:
    kind = ("Type", "number")
    console.goto(f"{stage.platform.url}/admin/clients/attributedefinition/add/")
    console.get_by_label("Name").fill("Lidar range")
    console.get_by_label(kind[0]).select_option(kind[1])
    console.get_by_label("Description").fill("How far it sees, in metres")
    console.get_by_label("Reason").fill("new cars")
    console.get_by_role("button", name="Save", exact=True).click()
    expect(console.get_by_text("a letter, then letters, digits")).to_be_visible()
    expect(console.get_by_label("Reason")).to_have_value("new cars")
    console.get_by_label("Name").fill("lidar_range_m")
    console.get_by_role("button", name="Save", exact=True).click()
    expect(console.locator("#result_list")).to_contain_text("lidar_range_m")


def test_a_device_is_revoked_with_a_reason(console: Page, stage: Stage) -> None:
    named = """SELECT d.name FROM clients_device d JOIN clients_pool p ON p.id = d.pool_id
        WHERE p.name = %s AND d.status = 'active' ORDER BY d.id LIMIT 1"""
    [[name]] = stage.fleet.rows(named, f"{SLUG}-own")  # of the seed: it is at no work
    console.goto(f"{stage.platform.url}/admin/clients/device/?q={name}")
    newest(console).locator(".action-select").check()
    console.get_by_label("Select action to run").select_option("revoke")
    console.get_by_label("Reason").fill("it was stolen")
    console.get_by_role("button", name="Run").click()
    expect(console.get_by_text(f"1 device revoked: {name}.")).to_be_visible()
    console.goto(f"{stage.platform.url}/admin/tenants/auditentry/")
    expect(newest(console)).to_contain_text("it was stolen")


def test_a_gateway_is_drained(console: Page, stage: Stage) -> None:
    console.goto(f"{stage.platform.url}/admin/scheduling/gatewaydrain/add/")
    console.get_by_label("Gateway").select_option(index=0)
    console.get_by_label("Reason").fill("a new kernel")
    console.get_by_role("button", name="Save", exact=True).click()
    expect(newest(console)).to_contain_text("a new kernel")
