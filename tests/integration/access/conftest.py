import pytest


@pytest.fixture
def world(db, monkeypatch):
    """A tenant with one of everything, and all who ask for it."""
    from core import knobs
    from tests.integration.access import worlds

    monkeypatch.setenv("PROPIUS_ADMISSION_WAIT_S", "0.01")
    knobs.get.cache_clear()
    yield worlds.world()
    knobs.get.cache_clear()


@pytest.fixture
def description():
    """The API's own description, as it is served."""
    from drf_spectacular.generators import SchemaGenerator

    return SchemaGenerator().get_schema(public=True)
