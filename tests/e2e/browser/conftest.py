"""One stage for all tests that look at pages, one Chromium for each module."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.browser import chromium
from tests.e2e.browser.stage import OPERATOR, PASSWORD, Stage
from tests.e2e.running import RunningPlatform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium there is nothing to look with."""
    missing = pytest.mark.skip(reason="no chromium on the PATH; apt install chromium")
    for item in items:
        if "tests/e2e/browser" in str(item.path):
            item.add_marker(pytest.mark.timeout(600))
            if chromium.PATH is None:
                item.add_marker(missing)


@pytest.fixture(scope="session")
def stage(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(platform, tmp_path_factory.mktemp("stage"))
    try:
        yield stage.start()
    finally:
        stage.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=chromium.PATIENCE_MS)
    with chromium.launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def owner(browser: Browser, stage: Stage) -> Iterator[BrowserContext]:
    """The tenant's owner, signed in."""
    with _context(browser) as context:
        chromium.sign_in(context.new_page(), stage.platform.url, stage.owner, PASSWORD)
        yield context


@pytest.fixture(scope="module")
def operator(browser: Browser, stage: Stage) -> Iterator[BrowserContext]:
    """The operator, signed in to the console."""
    with _context(browser) as context:
        chromium.sign_in_to_console(context.new_page(), stage.platform.url, OPERATOR, PASSWORD)
        yield context


def _context(browser: Browser, **options: Any) -> BrowserContext:
    context = browser.new_context(viewport=chromium.WIDE, **options)
    context.set_default_timeout(chromium.PATIENCE_MS)
    return context


@pytest.fixture
def page(owner: BrowserContext, stage: Stage) -> Iterator[Page]:
    """A page of the owner's; an error on the console or a request elsewhere fails the test."""
    yield from _watched(owner, stage)


@pytest.fixture
def console(operator: BrowserContext, stage: Stage) -> Iterator[Page]:
    """A page of the operator's, watched likewise."""
    yield from _watched(operator, stage)


def _watched(context: BrowserContext, stage: Stage) -> Iterator[Page]:
    page = context.new_page()
    faults = chromium.watch(page, stage.platform.url)
    yield page
    page.close()
    assert faults == []
