"""A blob store of each test's own, and batches of two."""

import pytest


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.PROPIUS_HOME = tmp_path


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    from core import knobs

    monkeypatch.setenv("PROPIUS_FOLD_BATCH", "2")
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


@pytest.fixture
def world():
    """A job of rounds with demand 6, and 8 devices."""
    from tests.integration.aggregation import worlds

    return worlds.make_world()
