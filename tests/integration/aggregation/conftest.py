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


@pytest.fixture
def plane():
    """The data plane in this process, at the time of the tests."""
    from aggregation.transfer import DataPlane
    from tests.integration.aggregation.plane import elsewhere
    from tests.integration.factories import NOW

    one = DataPlane(elsewhere, clock=lambda: NOW)
    yield one
    one.stop()


@pytest.fixture
def bound(world):
    return [identifier for identifier, _ in world.bind(world.round())]


@pytest.fixture
def carrier(plane, bound):
    """A device that carries its parameters and update over HTTP."""
    from tests.integration.aggregation.plane import Client

    return Client(plane, bound[0])
