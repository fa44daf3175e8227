"""What is no path of Django's: the data plane, health and figures, the live pages' sockets."""

import asyncio

import httpx
import pytest

from aggregation.transfer import plane
from frontend.routing import websocket_urlpatterns
from gateway.app import gateway
from gateway.front import PATH as DEVICES
from propius_site import asgi, health
from tests.integration.access.matrix import NOBODY, PERSONAS, ROLES
from tests.integration.frontend.sockets import Socket

FAR = ("203.0.113.7", 4000)
HTTP = {
    "/healthz": {"GET": dict.fromkeys(PERSONAS, 200)},
    "/readyz": {"GET": dict.fromkeys(PERSONAS, 200)},
    # Whoever they are: it wants the operator's own token, or to be asked from this machine.
    "/metrics": {"GET": dict.fromkeys(PERSONAS, 403)},
    # Nothing but an assignment's ticket opens these, and below leaf/ nothing but a leaf's token.
    "/data/v1/parameters/<digest>": dict.fromkeys(("GET", "HEAD"), dict.fromkeys(PERSONAS, 401)),
    "/data/v1/updates/<id>": dict.fromkeys(("HEAD", "PUT"), dict.fromkeys(PERSONAS, 401)),
    "/data/v1/leaf/<anything>": dict.fromkeys(("GET", "POST", "PUT"), dict.fromkeys(PERSONAS, 401)),
}
MEMBERS = dict.fromkeys(PERSONAS, False) | dict.fromkeys(ROLES, True)
SOCKETS = {
    "/ws/overview/": MEMBERS | {"stranger": True},  # of their own tenant
    "/ws/jobs/": MEMBERS | {"stranger": True},
    "/ws/jobs/<uuid:job_id>/": MEMBERS,
}
"""Whether a persona's socket is taken."""


def test_every_raw_route_has_a_row():
    data = {*plane.METHODS_OF, "leaf"}
    assert {path for path in HTTP if not path.startswith(plane.PREFIX)} == set(health.PATHS)
    assert {path.split("/")[3] for path in HTTP if path.startswith(plane.PREFIX)} == data
    for kind, methods in plane.METHODS_OF.items():
        (row,) = (row for path, row in HTTP.items() if f"/{kind}/" in path)
        assert sorted(row) == sorted(methods.split(", "))
    assert {f"/{one.pattern}" for one in websocket_urlpatterns} == set(SOCKETS)


def test_the_gateway_has_one_door_for_devices():
    """Each word there is signed by a device's key: tests/integration/gateway has its walls."""
    (sockets, other) = gateway.application().application_mapping["websocket"].routes
    assert f"/{sockets.pattern}" == DEVICES
    assert str(other.pattern) == ""


@pytest.mark.django_db(transaction=True)
async def test_everybody_gets_what_the_row_says(world):
    transport = httpx.ASGITransport(app=asgi.web, client=FAR)
    wrong = []
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for route, rows in HTTP.items():
            path = route.replace("<digest>", "a" * 64).replace("<anything>", "beat")
            path = path.replace("<id>", str(world.arguments["<uuid:assignment_id>"]))
            for method, expected in rows.items():
                for persona in PERSONAS:
                    answer = await client.request(method, path, headers=shown(world, persona))
                    if answer.status_code != expected[persona]:
                        wrong.append((persona, method, route, answer.status_code))
    assert wrong == []


@pytest.mark.django_db(transaction=True)
async def test_a_socket_is_taken_from_members_of_the_tenant_alone(world):
    wrong = []
    for route, expected in SOCKETS.items():
        for persona in PERSONAS:
            socket = Socket(world.path(route[1:]), cookie=world.sessions.get(persona, ""))
            secret = shown(world, persona).get("authorization", "")
            socket.scope["headers"].append((b"authorization", secret.encode()))
            assert await socket.connect()  # who may not is told so by the close's code
            taken = (await asyncio.wait_for(socket.from_app.get(), 60))["type"] == "websocket.send"
            await socket.disconnect()
            if taken != expected[persona]:
                wrong.append((persona, route, taken))
    assert wrong == []
    assert NOBODY


def shown(world, persona):
    """What a persona has with it."""
    found = {}
    if persona in world.sessions:
        found["cookie"] = f"sessionid={world.sessions[persona]}"
    if persona in world.secrets:
        found["authorization"] = f"Bearer {world.secrets[persona]}"
    return found
