"""Every page, light and dark, on a desktop and a phone: for everybody, quiet, small, in bounds."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.browser import chromium, pages
from tests.e2e.browser.stage import Stage

BYTES = 250_000
SERIOUS = ("serious", "critical")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

THEIRS = [
    # Django's two lists with arrows, which the theme only colours; what they set is a select too.
    ("aria-prohibited-attr", ".selector .help-tooltip"),
    ("color-contrast", ".selector input"),
]
"""Rules that parts of pages break which are a third party's: (rule, selector)."""

AXE = """async ([rules, tags, theirs]) => {
  const run = rules ? {type: "rule", values: rules} : {type: "tag", values: tags};
  const options = {runOnly: run, resultTypes: ["violations"], elementRef: true};
  const found = (await axe.run(document, options)).violations.map(one => ({
    rule: one.id, impact: one.impact,
    at: one.nodes
      .filter(node => !theirs.some(([id, at]) => id === one.id && node.element.matches(at)))
      .slice(0, 4).map(node => node.target.join(" ")).join(" | "),
  }));
  return found.filter(one => one.at);
}"""
SIX_OF_EACH = """document.querySelectorAll(
  "tr:nth-child(n+7), tbody:nth-of-type(n+7), li:nth-child(n+7), pre span:nth-child(n+99)"
).forEach(one => one.remove())"""
"""Rows of a table or list are alike: six tell what a hundred do, in a hundredth of the time.
So are the words of a long JSON."""
LOADED = "performance.getEntriesByType('resource').map(one => one.name)"
NAMED_ICONS = """[...document.querySelectorAll(".material-symbols-outlined")]
  .filter(one => one.offsetWidth > 1.5 * parseFloat(getComputedStyle(one).fontSize))
  .map(one => one.textContent.trim())"""
"""Icons that console-icons.woff2 lacks: they show as words."""
IN_THEME = "scheme => Alpine.$data(document.documentElement).adminTheme = scheme"


class Looker:
    """One who opens pages one after another and writes down what is wrong with them."""

    def __init__(self, context: BrowserContext, stage: Stage, *, pairs: bool = False) -> None:
        self.page = context.new_page()
        self.pairs = pairs
        self.url = stage.platform.url
        self.faults = chromium.watch(self.page, self.url)
        self.sizes: dict[str, int] = {}

    def look(self, address: str) -> list[str]:
        """Return what is wrong with a page in both schemes and at both widths."""
        page, wrong = self.page, []
        self.faults.clear()
        page.set_viewport_size(chromium.PHONE)
        page.emulate_media(color_scheme="light")
        answer = page.goto(self.url + address)
        assert answer is not None
        assert answer.status == 200, f"{address}: {answer.status}"
        if page.locator("[ws-connect]").count():
            expect(page.locator("html[data-live]")).to_be_attached()
        sent = answer.request.sizes()["responseBodySize"] + sum(
            map(self._size, page.evaluate(LOADED))
        )
        if sent > BYTES:
            wrong.append(f"{sent // 1000} kB on the first load")
        wrong += [f"no icon {one}" for one in page.evaluate(NAMED_ICONS)]
        page.evaluate(AXE_SCRIPT)
        for size in (chromium.PHONE, chromium.WIDE):
            page.set_viewport_size(size)
            page.evaluate(chromium.DRAWN)
            across = page.evaluate("document.documentElement.scrollWidth")
            if size == chromium.PHONE and across > size["width"]:
                wrong.append(f"{across} px wide at {size['width']} px")
            page.evaluate(SIX_OF_EACH)
            wrong += self.judge(size["width"])
        return wrong + self.faults

    def judge(self, width: int) -> list[str]:
        """Return what axe finds on the page as it is; what changes with the scheme is colours.

        In ``pairs`` each rule, scheme and width is met, but not each with each.
        """
        is_phone = width == chromium.PHONE["width"]
        found = self._axe("light", width) if is_phone or not self.pairs else []
        if not (is_phone and self.pairs):
            found += self._axe("dark", width, ["color-contrast"])
        return found

    def _axe(self, scheme: str, width: int, rules: list[str] | None = None) -> list[str]:
        self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        if self.page.evaluate("'Alpine' in window"):
            self.page.evaluate(IN_THEME, scheme)
        found = self.page.evaluate(AXE, [rules, TAGS, THEIRS])
        return [
            f"{one['rule']} ({one['impact']}, {scheme}, {width} px): {one['at']}"
            for one in found
            if one["impact"] in SERIOUS
        ]

    def _size(self, address: str) -> int:
        """Bytes as production sends them: static files compressed, fonts are so already."""
        path = urlsplit(address).path
        if path not in self.sizes:
            body = self.page.request.get(address).body()
            is_text = path.startswith("/static/") and not path.endswith(".woff2")
            self.sizes[path] = len(gzip.compress(body) if is_text else body)
        return self.sizes[path]


@pytest.fixture(scope="module")
def for_tenants(owner: BrowserContext, stage: Stage) -> Looker:
    return Looker(owner, stage)


@pytest.fixture(scope="module")
def for_operators(operator: BrowserContext, stage: Stage) -> Looker:
    """A third party's theme draws these, a hundred of a few kinds."""
    return Looker(operator, stage, pairs=True)


@pytest.mark.parametrize("route", pages.of_tenants())
def test_a_page_for_tenants(route: str, stage: Stage, for_tenants: Looker) -> None:
    assert for_tenants.look(pages.address(route, stage)) == []


@pytest.mark.parametrize("app", pages.CONSOLE_APPS)
def test_the_pages_of_an_app_in_the_console(app: str, stage: Stage, for_operators: Looker) -> None:
    wrong = {}
    for address in pages.in_console(app, stage):
        asked = for_operators.page.request.get(stage.platform.url + address, max_redirects=0)
        if asked.status not in (403, 405):  # not offered for this model; a button's address
            wrong[address] = for_operators.look(address)
    assert {address: found for address, found in wrong.items() if found} == {}


def test_a_preview_of_both_sides(stage: Stage, for_operators: Looker) -> None:
    page = for_operators.page
    page.goto(f"{stage.platform.url}/admin/scheduling/sharingpolicy/preview/")
    page.get_by_label("Policy").select_option("fifo")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("Both sides")
    address = urlsplit(page.url).path
    assert for_operators.look(address) == []


def dry_run(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/jobs/new/?clone={stage.running}")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".verdict")).to_contain_text("The file is right")


def faults_of_a_file(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/jobs/new/")
    page.get_by_label("Job file").fill("{}")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.get_by_role("alert")).to_be_visible()


def faults_of_a_form(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/settings/tokens/")
    page.get_by_label("Name").fill(" ")
    page.get_by_role("button", name="Create the token").click()
    expect(page.locator(".fault")).to_be_visible()


def secret(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/settings/tokens/")
    page.get_by_label("Name").fill("seen once")
    page.get_by_role("button", name="Create the token").click()
    expect(page.locator("#secret")).to_be_visible()


def question(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/settings/tokens/")
    page.get_by_role("button", name="Revoke nightly").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def details(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/jobs/{stage.finished[0]}/")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


def nothing(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.platform.url}/nothing/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize(
    "come", [dry_run, faults_of_a_file, faults_of_a_form, secret, question, details, nothing]
)
def test_what_a_page_shows_only_at_times(
    come: Callable[[Page, Stage], None], stage: Stage, for_tenants: Looker
) -> None:
    for_tenants.page.set_viewport_size(chromium.PHONE)
    come(for_tenants.page, stage)
    for_tenants.page.evaluate(AXE_SCRIPT)
    for_tenants.page.evaluate(SIX_OF_EACH)
    assert for_tenants.judge(chromium.PHONE["width"]) == []
