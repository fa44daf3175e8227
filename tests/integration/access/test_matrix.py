"""Every endpoint and page, every method, every kind of caller: the status that the matrix says."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from clients import services as client_services
from clients.models import Device
from core import knobs
from propius import arrays
from tenants import services
from tenants.authentication import SESSION_TENANT
from tenants.models import AuditEntry, Tenant
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.access.matrix import PERSONAS, ROLES, ROWS, routes
from tests.integration.aggregation.test_rounds import finish
from tests.integration.aggregation.worlds import make_world, send

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CONSOLE = "admin/"
KEYS = [
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
]


@dataclass
class World:
    """A tenant with one of everything, and what each persona shows at the door."""

    tenant: Tenant
    pool: Any
    job_file: dict
    arguments: dict[str, Any]
    invitation: str = ""
    new_key: str = KEYS[1]
    new_parameters: bytes = arrays.save({"w": np.ones(3, np.float32)})
    sessions: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    # One for all calls: each new one reads the static files anew, which takes most of a call.
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def call(self, persona: str, method: str, route: str, **sent: Any) -> Any:
        """Ask as a persona, with nothing left over from the call before."""
        client = self.client
        client.cookies.clear()
        if persona in self.sessions:
            client.cookies["sessionid"] = self.sessions[persona]
        if persona in self.secrets:
            sent["headers"] = {"Authorization": f"Bearer {self.secrets[persona]}"}
        return (
            client.generic(method, self.path(route), **sent)
            if "data" not in sent
            else getattr(client, method.lower())(self.path(route), **sent)
        )

    def path(self, route: str) -> str:
        for name, value in self.arguments.items():
            route = route.replace(name, str(value))
        return "/" + route


@pytest.fixture
def world(db, monkeypatch):
    monkeypatch.setenv("PROPIUS_ADMISSION_WAIT_S", "0.01")
    knobs.get.cache_clear()
    trained = make_world()
    for bound in trained.bind(trained.round()):
        send(*bound, 2.0, loss=0.5)
    tenant, now = trained.tenant, timezone.now()
    pool = factories.pool(tenant)
    device = factories.device(pool)
    with system_scope():
        assert finish(trained.round().id)
        Device.objects.filter(id=device.id).update(public_key=KEYS[0])
        token, _ = services.create_token(
            tenant_id=tenant.id, name="a", scopes=None, created_by="x", now=now
        )
        revoked, revoked_secret = services.create_token(
            tenant_id=tenant.id, name="b", scopes=None, created_by="x", now=now
        )
        services.revoke_token(tenant_id=tenant.id, token_id=revoked.id, actor="x", now=now)
        enrolment, enrolment_secret = client_services.create_enrolment_token(
            pool=pool, name="x", max_uses=9, created_by="x", now=now,
            expires_at=now + timedelta(hours=1),
        )  # fmt: skip
        invitation, invitation_secret = services.create_invitation(
            tenant_id=tenant.id, name="Eve", role="submitter", by_role="owner", actor="x",
            expires_at=now + timedelta(hours=1), now=now,
        )  # fmt: skip
        webhook, _ = services.create_webhook(
            tenant_id=tenant.id, url="https://example.org/", kinds=None, actor="x", now=now
        )
        member_id = tenant.members.get(user=factories.member(tenant, "viewer")).id
        made = World(
            tenant,
            pool,
            factories.spec(parameters=trained.job.parameters_digest),
            {
                "<uuid:job_id>": trained.job.id, "<uuid:pool_id>": pool.id,
                "<uuid:device_id>": device.id, "<int:number>": 1,
                "<str:digest>": trained.job.parameters_digest,
                "<uuid:invitation_id>": invitation.id, "<int:member_id>": member_id,
                "<uuid:webhook_id>": webhook.id,
                "<uuid:assignment_id>": trained.job.assignment_set.first().id,
            },
            invitation=invitation_secret,
            secrets={
                "device": KEYS[0], "enrolment": enrolment_secret, "revoked": revoked_secret
            },
        )  # fmt: skip
    made.tokens = {
        "api/v1/tokens/": token.id, "settings/tokens/": token.id, "": enrolment.id,
    }  # fmt: skip
    people = {role: factories.member(tenant, role) for role in ROLES}
    people["stranger"] = factories.member(factories.tenant(), "owner")
    people["operator"] = User.objects.create_superuser("operator", password="x")
    for persona, user in people.items():
        client = Client()
        client.force_login(user)
        session = client.session
        with system_scope():
            for member in user.memberships.all():
                session[SESSION_TENANT] = str(member.tenant_id)
        session.save()
        made.sessions[persona] = client.cookies["sessionid"].value
    yield made
    knobs.get.cache_clear()


def tried(world, persona, method, route, sent):
    """Ask within a savepoint that is rolled back: (status, audit entries that it left)."""
    start = next(start for start in world.tokens if route.startswith(start))
    world.arguments["<uuid:token_id>"] = world.tokens[start]
    with transaction.atomic():
        with system_scope():
            before = set(AuditEntry.objects.values_list("id", flat=True))
        answer = world.call(persona, method, route, **sent)
        status = answer.status_code
        entries = []
        if not transaction.get_rollback():
            with system_scope():
                entries = list(AuditEntry.objects.exclude(id__in=before))
        transaction.set_rollback(True)
    return status, entries


@pytest.mark.timeout(300)
def test_everybody_gets_what_the_matrix_says(world):
    wrong, tally = [], 0
    for route, rows in ROWS.items():
        for method, row in rows.items():
            for persona in PERSONAS:
                sent = row.body(world) if row.body else {}
                status, entries = tried(world, persona, method, route, sent)
                tally += 1
                if status != row.expected[persona]:
                    wrong.append((persona, method, route, status, row.expected[persona]))
                if method == "GET" and entries:
                    wrong.append((persona, method, route, "a look is audited as a write"))
                written = method != "GET" and status < 400 and persona not in ("anonymous",)
                if written and row.audited and row.expected[persona] == status:
                    told = [(one.actor, one.address) for one in entries]
                    if not _told(route, persona, told):
                        wrong.append((persona, method, route, "not audited", told))
    assert wrong == []
    assert tally > 500


def _told(route, persona, told):
    """Whether a write left a line with its actor and address (a page's refusal leaves none)."""
    if not route.startswith("api/") and persona not in (*ROLES, "stranger"):
        return True  # sent to sign in, not written
    return any(actor and address == "127.0.0.1" for actor, address in told)


def test_no_path_does_what_it_has_no_method_for(world):
    wrong = []
    for route, rows in ROWS.items():
        for method in METHODS:
            if method in rows:
                continue
            for persona in ("anonymous", "owner", "revoked"):
                status, _ = tried(world, persona, method, route, {})
                # One who is signed in is sent on from the door whatever the method.
                expected = {302} if (route, persona) == ("sign-in/", "owner") else {405}
                if route.startswith("api/") and persona != "owner" and not _public(rows):
                    expected = {401}
                if status not in expected:
                    wrong.append((persona, method, route, status))
    assert wrong == []


def test_no_form_of_another_site_writes_anything(world):
    world.client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    found = {
        (method, route): tried(world, "owner", method, route, row.body(world) if row.body else {})
        for route, rows in ROWS.items()
        for method, row in rows.items()
        if method != "GET" and not _public(rows)
    }
    assert {one: got for one, got in found.items() if got != (403, [])} == {}
    assert len(found) > 40


def _public(rows):
    return all(len(set(row.expected.values())) == 1 for row in rows.values())


def test_the_matrix_has_a_row_for_every_path_and_none_too_many():
    present = {one for one in routes() if not one.startswith(CONSOLE)}
    assert present == set(ROWS)


def test_a_read_without_a_body_has_a_head_with_the_same_status(world):
    for route, rows in ROWS.items():
        if "GET" in rows and route.startswith("api/") and not _public(rows):
            for persona in ("anonymous", "viewer", "stranger"):
                status, _ = tried(world, persona, "HEAD", route, {})
                assert status == rows["GET"].expected[persona], (route, persona)


@pytest.mark.timeout(300)
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


CONSOLE_WRITES = {
    "tenants/tenant/add/": {"slug": "new", "name": "New"},
    "clients/pool/add/": {"name": "new"},
    "clients/attributedefinition/add/": {
        "name": "lidar", "type": "boolean", "description": "Has a lidar", "reason": "new cars",
    },
    "clients/sdkrequirement/add/": {
        "software": "propius-python", "minimum": "0.2", "percent": "1", "grace_days": "7",
        "reason": "a hole",
    },
    "auth/group/add/": {"name": "watch"},
    "jobs/maintenance/add/": {"mode": "paused", "reason": "the network is rewired"},
    "jobs/quarantine/add/": {"kind": "workload", "target": "train", "reason": "it is broken"},
    "auth/user/add/": {
        "username": "new", "usable_password": "false",
    },
}  # fmt: skip


def test_every_write_in_the_console_is_audited(world):
    operator = Client()
    operator.cookies["sessionid"] = world.sessions["operator"]

    def post(path, **fields):
        with system_scope():
            last = AuditEntry.objects.latest("id").id
        answer = operator.post(f"/admin/{path}", fields)
        assert answer.status_code == 302, (path, answer.content)
        with system_scope():
            (entry,) = AuditEntry.objects.filter(id__gt=last)
        assert (entry.actor, entry.address) == ("operator", "127.0.0.1"), path
        return entry.action, entry.detail

    for path, fields in CONSOLE_WRITES.items():
        post(path, **fields)
    action, detail = post(f"tenants/tenant/{world.tenant.id}/change/", name="Other")
    assert (action, detail["after"]) == ("tenant.rename", "Other")
    action, detail = post(f"clients/pool/{world.pool.id}/change/", name="renamed")
    assert (action, detail["after"]) == ("pool.rename", "renamed")
    person = User.objects.create_user("joins")
    tenant = str(world.tenant.id)
    post("tenants/member/add/", tenant=tenant, user=person.id, role="viewer")
    with system_scope():
        member = person.memberships.get()
    action, detail = post(f"tenants/member/{member.id}/change/", role="admin")
    assert (action, detail) == ("member.set", {"before": "viewer", "after": "admin"})
    action, detail = post(f"tenants/member/{member.id}/delete/", post="yes")
    assert (action, detail) == ("member.remove", {"before": "admin"})


def test_what_a_service_refuses_is_told_in_the_console_and_changes_nothing(world):
    operator = Client()
    operator.cookies["sessionid"] = world.sessions["operator"]
    other = factories.pool(world.tenant, "other")
    path = f"/admin/clients/pool/{other.id}/change/"
    answer = operator.post(path, {"name": world.pool.name}, follow=True)
    assert b"there is a pool" in answer.content or b"already exists" in answer.content
    assert operator.post(f"/admin/tenants/tenant/{world.tenant.id}/delete/").status_code == 403
    with system_scope():
        other.refresh_from_db()
    assert other.name == "other"
