"""The operators' console: nobody else comes in, and what is changed there is audited."""

from uuid import UUID

from django.test import Client

from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.access.callers import tried
from tests.integration.access.matrix import CONSOLE, routes


def test_the_console_is_the_operators_alone(world):
    wrong = []
    paths = {
        one.replace("<path:object_id>", "1").replace("<int:content_type_id>", "1")
        .replace("<path:object_id>", "1").replace("<id>", "1").replace("<int:row_id>", "1")
        .replace("<uuid:preview_id>", str(UUID(int=1)))
        for one in routes()
        if one.startswith(CONSOLE) and "(?P" not in one
    }  # fmt: skip
    assert len(paths) > 60
    for route in sorted(paths):
        for persona in ("anonymous", "owner", "stranger", "device"):
            status, _ = tried(world, persona, "GET", route, {})
            at_the_door = route in ("admin/login/", "admin/logout/")
            if not (status in (302, 404) or (at_the_door and status in (200, 403, 405))):
                wrong.append((persona, route, status))
        if tried(world, "operator", "GET", route, {})[0] >= 500:
            wrong.append(("operator", route))
    assert wrong == []


def test_the_consoles_buttons_are_the_operators_alone_and_miss_no_row_loudly(world):
    buttons = {one.replace("<int:row_id>", "0") for one in routes() if "<int:row_id>" in one}
    assert len(buttons) > 5
    expected = {"operator": 404, "anonymous": 302, "owner": 302, "device": 302}
    found = {
        (route, persona, tried(world, persona, "POST", route, {})[0])
        for route in buttons
        for persona in expected
    }
    assert found == {(route, *one) for route in buttons for one in expected.items()}


def test_what_a_service_refuses_is_told_in_the_console_and_changes_nothing(world):
    operator = Client()
    operator.cookies["sessionid"] = world.sessions["operator"]
    other = factories.pool(world.tenant, "other")
    path = f"/admin/clients/pool/{other.id}/change/"
    answer = operator.post(path, {"name": world.pool.name, "reason": "x"}, follow=True)
    assert b"is taken" in answer.content or b"already exists" in answer.content
    assert operator.post(f"/admin/tenants/tenant/{world.tenant.id}/delete/").status_code == 403
    with system_scope():
        other.refresh_from_db()
    assert other.name == "other"
