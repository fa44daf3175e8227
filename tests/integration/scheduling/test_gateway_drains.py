"""The operator asks a gateway to end: it is told over the channel, and the history keeps why."""

import json

import pytest
from django.contrib.auth.models import User

from core import hints
from scheduling import services
from scheduling.models import GatewayDrain
from tenants import scopes
from tenants.models import AuditEntry
from tests.integration.factories import NOW
from tests.integration.scheduling.test_planning import run


@pytest.fixture
def gateway(redis):
    run(lambda door: door.heartbeat("gw-1", groups_version="g", sockets=7, idle={}, busy={}))
    with scopes.system_scope():
        yield "gw-1"


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("op"))
    return client


def test_it_tells_the_gateway_and_keeps_who_asked_and_why(
    gateway, operator, redis, django_capture_on_commit_callbacks
):
    page = operator.get("/admin/scheduling/gatewaydrain/add/").content.decode()
    assert "gw-1: 7 devices" in page
    with redis.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(hints.GATEWAYS)
        heard.get_message(timeout=20)  # that we listen
        with django_capture_on_commit_callbacks(execute=True):
            answer = operator.post(
                "/admin/scheduling/gatewaydrain/add/", {"gateway": gateway, "reason": "new kernel"}
            )
        assert answer.status_code == 302
        told = heard.get_message(timeout=20)
    assert json.loads(told["data"]) == {"drain": "gw-1"}
    asked = GatewayDrain.objects.get()
    assert (asked.gateway, asked.author, asked.reason) == ("gw-1", "op", "new kernel")
    entry = AuditEntry.objects.get(action="gateway.drain")
    assert (entry.actor, entry.target, entry.detail["sockets"]) == ("op", "gw-1", 7)


def test_it_names_the_gateways_that_live(gateway):
    with pytest.raises(services.DrainInvalid, match="'gw-2'; living are gw-1") as refused:
        services.drain_gateway(gateway="gw-2", author="op", reason="", now=NOW)
    assert set(refused.value.errors) == {"gateway", "reason"}
    assert not GatewayDrain.objects.exists()
