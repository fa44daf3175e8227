"""Take the pictures of the README from a running platform, in headless Chromium.

    python docs/screenshots.py --url http://127.0.0.1:8000 --user ada --out docs/images

It signs in through the form and saves the overview, the first job in progress (or the newest job),
and the devices, in light and dark, wide and 360 px. The password is read from PROPIUS_PASSWORD,
else asked for. Chromium is Debian's; another one is named by PROPIUS_CHROMIUM.
"""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

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
SIZES = {"wide": (1280, 860), "phone": (360, 740)}


def main() -> None:
    """Parse the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--user", required=True)
    parser.add_argument("--job", help="id of the job to show; default: the first in progress")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", help="one picture, such as job-wide-light")
    parser.add_argument("--whole", action="store_true", help="the whole page, not one screen")
    given = parser.parse_args()
    password = os.environ.get("PROPIUS_PASSWORD") or getpass.getpass(f"Password of {given.user}: ")
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("PROPIUS_CHROMIUM", "/usr/bin/chromium"), args=FLAGS
        )
        for scheme in ("light", "dark"):
            for size in SIZES:
                shoot(browser, given, password, scheme, size)
        browser.close()


def shoot(
    browser: Browser, given: argparse.Namespace, password: str, scheme: str, size: str
) -> None:
    """Sign in with one colour scheme and size, and save each page."""
    wanted = [f"{name}-{size}-{scheme}" for name in ("overview", "job", "devices", "jobs")]
    if given.only and given.only not in wanted:
        return
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        device_scale_factor=2 if size == "phone" else 1,
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    sign_in(page, given.url, given.user, password)
    addresses = {"overview": "/", "jobs": "/jobs/", "devices": "/devices/"}
    addresses["job"] = job_address(page, given)
    for name, address in addresses.items():
        picture = f"{name}-{size}-{scheme}"
        if given.only in (None, picture):
            page.goto(given.url + address)
            settle(page)
            page.screenshot(path=given.out / f"{picture}.png", full_page=given.whole)
            print(given.out / f"{picture}.png")
    page.close()


def sign_in(page: Page, url: str, user: str, password: str) -> None:
    """Sign in through the form."""
    page.goto(f"{url}/sign-in/")
    page.fill("#id_username", user)
    page.fill("#id_password", password)
    page.click("button.main")
    page.wait_for_url(f"{url}/")


def job_address(page: Page, given: argparse.Namespace) -> str:
    """Return the path of the job to show."""
    if given.job:
        return f"/jobs/{given.job}/"
    page.goto(f"{given.url}/jobs/?state=active")
    if not page.locator("#list a").count():
        page.goto(f"{given.url}/jobs/")
    return page.locator("#list th a").last.get_attribute("href") or "/jobs/"


def settle(page: Page) -> None:
    """Wait until the page is live and its charts are drawn."""
    if page.locator("[ws-connect]").count():
        page.wait_for_selector("html[data-live]")
    page.wait_for_timeout(600)


if __name__ == "__main__":
    main()
