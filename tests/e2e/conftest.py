"""The real stack as processes, shared by the tests of a run."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import RunningPlatform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    running = RunningPlatform(tmp_path_factory.mktemp("platform") / "home")
    try:
        yield running.start()
    finally:
        if running.process and running.process.poll() is None:
            running.stop()
        running.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # type: ignore[no-untyped-def]
    """Add the platform's logs to a failed test's report."""
    report = (yield).get_result()
    running = getattr(item, "funcargs", {}).get("platform")
    if report.when == "call" and report.failed and isinstance(running, RunningPlatform):
        report.sections.append(("logs of the platform", running.logs()))
