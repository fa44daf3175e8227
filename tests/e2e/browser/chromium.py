"""A headless Chromium for tests and pictures, and pages that note what goes wrong on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

PATH = os.environ.get("PROPIUS_CHROMIUM") or shutil.which("chromium")
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
WIDE: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 360, "height": 740}
PATIENCE_MS = 60_000
"""Only a page that never comes ends a wait, however busy the machine is."""
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a Chromium: Debian's, or the one that PROPIUS_CHROMIUM names."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def watch(page: Page, url: str) -> list[str]:
    """Return a list that gets each console error and each request that leaves the host."""
    faults: list[str] = []

    def asked(address: str) -> None:
        parts = urlsplit(address)
        if parts.netloc != urlsplit(url).netloc and parts.scheme not in ("data", "blob"):
            faults.append(f"request to {address}")

    def said(line: ConsoleMessage) -> None:
        if line.type == "error":
            faults.append(f"console: {line.text} at {line.location}")

    page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
    page.on("console", said)
    page.on("request", lambda sent: asked(sent.url))
    page.on("websocket", lambda socket: asked(socket.url))
    return faults


def sign_in(page: Page, url: str, user: str, password: str, then: str = "/") -> None:
    """Ask for a page, and come to it through the form."""
    page.goto(url + then)
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(url + then)


def sign_in_to_console(page: Page, url: str, user: str, password: str) -> None:
    """Sign in as an operator, who has a door of their own."""
    page.goto(f"{url}/admin/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/admin/")
