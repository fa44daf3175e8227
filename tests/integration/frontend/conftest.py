import pytest


@pytest.fixture
def world(db):
    """Two tenants, three personas, a shared and a private pool, one job in its first round."""
    from tests.integration.frontend import worlds

    return worlds.world()


@pytest.fixture
def finished_rounds():
    """Return a function that adds completed rounds, with an evaluation of each, to a job."""
    from tests.integration.frontend import worlds

    return worlds.finish_rounds


@pytest.fixture
def browse():
    """Return a function that gives a browser in which a user is signed in."""
    from django.test import Client

    def browser(user):
        client = Client()
        client.force_login(user)
        return client

    return browser
