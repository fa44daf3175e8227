"""Take the pictures of docs/gallery.md and of the README, in headless Chromium.

    python -m docs.screenshots                # about two minutes; needs requirements-dev.txt

It starts a platform of its own with the stage of the browser tests (a tenant with months of rows,
and a fleet at work), goes through its pages, and writes docs/images/*.webp and docs/gallery.md.
Chromium is Debian's; another one is named by PROPIUS_CHROMIUM.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.browser import chromium
from tests.e2e.browser.stage import OPERATOR, PASSWORD, Stage
from tests.e2e.running import RunningPlatform

DOCS = Path(__file__).resolve().parent
QUALITY = 80
ROUNDS_SHOWN = 12
HEAD = """# What it looks like

Made by `python -m docs.screenshots` from the stage of the browser tests; do not edit. Each page is
also looked at by those tests in light and dark, 1280 and 360 px wide.
"""


@dataclass(frozen=True)
class Picture:
    """One picture; ``path`` may name jobs of the stage, ``at`` is what stands at the top.

    ``choose`` is a list's label and what is chosen there, ``press`` names a button that is pressed
    then, ``until`` what the page shows after that.
    """

    name: str
    line: str
    path: str
    scheme: str = "light"
    size: str = "wide"
    console: bool = False
    at: str = ""
    choose: tuple[str, str] | None = None
    press: str = ""
    until: str = ""


PICTURES = [
    Picture(
        "overview-wide-light",
        "Overview: what the fleet does now, what trains, what needs attention.",
        "/",
    ),
    Picture("overview-wide-dark", "The same in the dark.", "/", "dark"),
    Picture(
        "job-wide-light",
        "A job in progress: its state in words, its figures, each metric by round.",
        "/jobs/{running}/",
    ),
    Picture(
        "job-devices-light",
        "Further down: the devices of the round, model versions to pin and download.",
        "/jobs/{running}/",
        at="#devices",
    ),
    Picture(
        "job-rounds-dark",
        "Rounds as a timeline: who was late, who failed and why.",
        "/jobs/{running}/",
        "dark",
        at="#rounds",
    ),
    Picture(
        "compare-wide-light",
        "Two jobs drawn over each other, round by round.",
        "/jobs/{finished}/?compare={other}",
        at="#charts",
    ),
    Picture("jobs-wide-light", "All jobs, by state and by name.", "/jobs/"),
    Picture(
        "new-job-wide-light",
        "A new job: the form and the job file in step.",
        "/jobs/new/?clone={running}",
    ),
    Picture(
        "dry-run-wide-light",
        "A dry run: how many devices fit, and when the first round would begin and end.",
        "/jobs/new/?clone={running}",
        press="Try it: dry run",
        until=".verdict",
    ),
    Picture("devices-wide-light", "Devices: pools, what devices are like, enrolment.", "/devices/"),
    Picture(
        "eligible-wide-dark",
        "How many devices fit a constraint, term by term as it is typed.",
        "/devices/eligible/?q=memory_mb >= 4096 and os in linux, android",
        "dark",
    ),
    Picture("usage-wide-light", "Usage by day, job and member, against the quota.", "/usage/"),
    Picture(
        "tokens-wide-light", "API tokens: shown once, with their last use.", "/settings/tokens/"
    ),
    Picture("people-wide-light", "Members, their roles, and open invitations.", "/settings/"),
    Picture(
        "webhooks-wide-light",
        "Webhooks: where a tenant's events go, and what came back.",
        "/settings/webhooks/",
    ),
    Picture("audit-wide-dark", "The audit: who changed what.", "/settings/audit/", "dark"),
    Picture("overview-phone-light", "On a phone: the overview.", "/", size="phone"),
    Picture("job-phone-dark", "On a phone: a job.", "/jobs/{running}/", "dark", "phone"),
    Picture("devices-phone-light", "On a phone: the devices.", "/devices/", size="phone"),
    Picture("console-wide-light", "The operators' console.", "/admin/", console=True),
    Picture(
        "policy-wide-light",
        "The sharing policy: its history, each row to be chosen again.",
        "/admin/scheduling/sharingpolicy/",
        console=True,
    ),
    Picture(
        "preview-wide-light",
        "Preview: a proposed policy, to be replayed over the last hours before it is applied.",
        "/admin/scheduling/sharingpolicy/preview/",
        console=True,
    ),
    Picture(
        "compared-wide-light",
        "What came of it: present and proposed policy side by side, tenant by tenant.",
        "/admin/scheduling/sharingpolicy/preview/",
        console=True,
        at="#preview",
        choose=("Policy", "fifo"),
        press="Preview",
        until='#preview:has-text("Both sides")',
    ),
    Picture(
        "rollout-wide-light",
        "A version of the devices' software, asked of some of them first.",
        "/admin/clients/sdkrequirement/add/",
        console=True,
    ),
    Picture(
        "waiting-wide-dark",
        "Why each job waits, across all tenants.",
        "/admin/scheduling/waitingjob/",
        "dark",
        console=True,
    ),
]


def main() -> None:
    """Start the stage, take the pictures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=DOCS / "images")
    parser.add_argument("--only", help="one picture, such as job-wide-light")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=chromium.PATIENCE_MS)
    with tempfile.TemporaryDirectory(prefix="propius-pictures-") as folder:
        platform = RunningPlatform(Path(folder) / "home")
        try:
            stage = Stage(platform.start(), Path(folder))
            with chromium.launched() as browser:
                shoot(browser, stage.start(), given.out, given.only)
            stage.stop()
        finally:
            platform.stop()
            platform.remove()
    if not given.only:
        (DOCS / "gallery.md").write_text(gallery())


def shoot(browser: Browser, stage: Stage, out: Path, only: str | None) -> None:
    """Take every picture, or one."""
    stage.fleet.wait_for_round(stage.running, number=ROUNDS_SHOWN)
    wait_in_line(stage)
    doors = {False: member(browser, stage), True: operator(browser, stage)}
    for one in PICTURES:
        if only in (None, one.name):
            page = doors[one.console].new_page()
            take(page, one, stage, out / f"{one.name}.webp")
            page.close()


def wait_in_line(stage: Stage) -> None:
    """Submit a job that no device fits, and one that its tenant holds up."""
    needs = {"public": {"memory_mb": 65_536}}
    stage.fleet.submit(rounds=40, demand=6, name="root-rot", constraints=needs)
    held = stage.fleet.submit(rounds=40, demand=6, name="night-frost")
    stage.call("POST", f"/jobs/{held}/pause")


def member(browser: Browser, stage: Stage) -> BrowserContext:
    """Sign the tenant's owner in."""
    context = browser.new_context()
    chromium.sign_in(context.new_page(), stage.platform.url, stage.owner, PASSWORD)
    return context


def operator(browser: Browser, stage: Stage) -> BrowserContext:
    """Sign the operator in."""
    context = browser.new_context()
    chromium.sign_in_to_console(context.new_page(), stage.platform.url, OPERATOR, PASSWORD)
    return context


def take(page: Page, one: Picture, stage: Stage, file: Path) -> None:
    """Open a page, wait until it is live and drawn, and save what the window shows."""
    page.set_viewport_size(chromium.PHONE if one.size == "phone" else chromium.WIDE)
    page.emulate_media(color_scheme=one.scheme)  # type: ignore[arg-type]
    path = one.path.format(
        running=stage.running, finished=stage.finished[0], other=stage.finished[1]
    )
    page.goto(stage.platform.url + path)
    if page.locator("[ws-connect]").count():
        expect(page.locator("html[data-live]")).to_be_attached()
    if one.choose:
        page.get_by_label(one.choose[0]).select_option(one.choose[1])
    if one.press:
        page.get_by_role("button", name=one.press).click()
        expect(page.locator(one.until)).to_be_visible()
    if one.at:
        # Found and scrolled to at once, when all is drawn: a push replaces what was found before.
        page.evaluate(chromium.DRAWN)
        page.evaluate("at => document.querySelector(at).scrollIntoView()", one.at)
    page.evaluate(chromium.DRAWN)
    # WebP, which Playwright's own pictures cannot be: a third of a PNG's bytes.
    session = page.context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    file.write_bytes(base64.b64decode(shot["data"]))
    print(f"{file} {file.stat().st_size // 1000} kB")


def gallery() -> str:
    """Return the page, a line for each picture."""
    parts = [HEAD]
    for one in PICTURES:
        width = ' width="270"' if one.size == "phone" else ""
        parts.append(f'{one.line}\n\n<img src="images/{one.name}.webp" alt="{one.line}"{width}>\n')
    return "\n".join(parts)


if __name__ == "__main__":
    main()
