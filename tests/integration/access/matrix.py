"""Who gets which status where: one row for each path and method."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import get_resolver

ROLES = ("viewer", "submitter", "admin", "owner")
PERSONAS = (
    "anonymous", *ROLES, "operator", "stranger", "device", "enrolment", "revoked",
)  # fmt: skip
"""Members by role; an operator of no tenant; another tenant's owner; and bearers of what is no
API token: a device's key, an enrolment token, a revoked token."""
CONSOLE = "admin/"
NOBODY = ("anonymous", "device", "enrolment", "revoked")

Statuses = dict[str, int]
Body = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """What each persona gets, and what they send (keywords of Django's test client)."""

    expected: Statuses
    body: Body | None = None
    audited: bool = True


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Every path of the URL table, as it is written there."""
    for one in patterns or get_resolver().url_patterns:
        path = prefix + str(one.pattern)
        if hasattr(one, "url_patterns"):
            yield from routes(one.url_patterns, path)
        else:
            yield path


def rest(least: str, ok: int, *, stranger: int, body: Body | None = None, **more: Any) -> Row:
    """A call of the API for the role ``least`` and those above it."""
    allowed = ROLES[ROLES.index(least) :]
    expected = dict.fromkeys(NOBODY, 401) | {"operator": 401, "stranger": stranger}
    expected |= {role: ok if role in allowed else 403 for role in ROLES}
    return Row(expected, body, **more)


def operators(ok: int, body: Body | None = None, **more: Any) -> Row:
    """A call of the API for operators, who act for no tenant."""
    expected = dict.fromkeys(PERSONAS, 403) | dict.fromkeys(NOBODY, 401) | {"operator": ok}
    return Row(expected, body, **more)


def public(ok: int, body: Body | None = None) -> Row:
    """For everybody, whoever they are."""
    return Row(dict.fromkeys(PERSONAS, ok), body)


def page(least: str, ok: int, *, stranger: int, body: Body | None = None, **more: Any) -> Row:
    """A page: who is not signed in is sent to do so; an operator of no tenant has none."""
    row = rest(least, ok, stranger=stranger, body=body, **more)
    return Row(row.expected | dict.fromkeys(NOBODY, 302) | {"operator": 403}, body, **more)


def sends(**fields: Any) -> Body:
    """A JSON body."""
    return lambda world: {"data": json.dumps(fields), "content_type": "application/json"}


def file(name: str) -> Body:
    return lambda world: {
        "data": getattr(world, name), "content_type": "application/octet-stream",
    }  # fmt: skip


def form(**fields: Any) -> Body:
    """A form; a function among the fields is asked with the world."""
    return lambda world: {
        "data": {name: one(world) if callable(one) else one for name, one in fields.items()}
    }


def enrolment(world: Any) -> dict[str, Any]:
    fields = {"token": world.secrets["enrolment"], "public_key": world.new_key, "sdk": "x"}
    return sends(**fields)(world)


def job_file(world: Any) -> dict[str, Any]:
    return sends(**world.job_file)(world)


def new_job(world: Any) -> dict[str, Any]:
    return form(file=json.dumps(world.job_file), do="submit")(world)


def next_round(world: Any) -> dict[str, Any]:
    return sends(number=2, parameters=world.round_digest)(world)


_NO_DEVICE = "00000000-0000-7000-8000-000000000000"
_LATER = {"expires_at": "2099-01-01T00:00:00Z"}
_JOB = "api/v1/jobs/<uuid:job_id>"
_VERSIONS = f"{_JOB}/versions"
OTHERS = {
    ("POST", f"{_JOB}/resume"): "paused",
    ("POST", f"{_JOB}/rounds"): "driven",
    ("POST", f"{_JOB}/parameters"): "driven",
    ("POST", f"{_JOB}/finish"): "driven",
    ("GET", f"{_JOB}/rounds/<int:number>/sum"): "driven",
    ("GET", f"{_JOB}/rounds/<int:number>/sum/download"): "driven",
    ("GET", "api/v1/programs/<str:digest>"): "program",
}
"""Calls that are about another thing of the world's than the rest, so that they can succeed."""

ROWS: Mapping[str, Mapping[str, Row]] = {
    # The API: about the caller and its tokens
    "api/v1/schema/": {"GET": public(200)},
    "api/v1/docs/": {"GET": public(200)},
    "api/v1/me": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/tokens": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("admin", 201, stranger=201, body=sends(name="ci")),
    },
    "api/v1/tokens/<uuid:token_id>": {"DELETE": rest("admin", 204, stranger=404)},
    "api/v1/members": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/members/<int:member_id>": {
        "PATCH": rest("admin", 200, stranger=404, body=sends(role="submitter")),
        "DELETE": rest("admin", 204, stranger=404),
    },
    "api/v1/invitations": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("admin", 201, stranger=201, body=sends(name="Eve", role="viewer")),
    },
    "api/v1/invitations/<uuid:invitation_id>": {"DELETE": rest("admin", 204, stranger=404)},
    "api/v1/webhooks": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("admin", 201, stranger=201, body=sends(url="https://example.org/hook")),
    },
    "api/v1/webhooks/<uuid:webhook_id>": {"DELETE": rest("admin", 204, stranger=404)},
    "api/v1/webhooks/<uuid:webhook_id>/test": {"POST": rest("admin", 202, stranger=404)},
    # Another tenant's log has no lines.
    "api/v1/webhooks/<uuid:webhook_id>/deliveries": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/audit": {"GET": rest("viewer", 200, stranger=200)},
    # Pools and devices
    "api/v1/attributes": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/attributes/distributions": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/pools": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("admin", 201, stranger=201, body=sends(name="new")),
    },
    "api/v1/pools/<uuid:pool_id>/enrolment-tokens": {
        "GET": rest("viewer", 200, stranger=404),
        "POST": rest("admin", 201, stranger=404, body=sends(name="x", max_uses=1, **_LATER)),
    },
    "api/v1/enrolment-tokens/<uuid:token_id>": {"DELETE": rest("admin", 204, stranger=404)},
    "api/v1/devices": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/devices/enrol": {"POST": public(201, enrolment)},
    "api/v1/devices/leave": {"POST": public(404, sends(device=_NO_DEVICE, signature="00"))},
    "api/v1/devices/<uuid:device_id>": {"GET": rest("viewer", 200, stranger=404)},
    "api/v1/devices/<uuid:device_id>/tasks": {"GET": rest("viewer", 200, stranger=404)},
    "api/v1/devices/<uuid:device_id>/totals": {"GET": rest("viewer", 200, stranger=404)},
    "api/v1/assignments/<uuid:assignment_id>/device": {"GET": rest("viewer", 200, stranger=404)},
    "api/v1/assignments/<uuid:assignment_id>/device/tasks": {
        "GET": rest("viewer", 200, stranger=404)
    },
    "api/v1/fleet": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/fleet/day": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/devices/<uuid:device_id>/revoke": {"POST": rest("admin", 200, stranger=404)},
    # Jobs. The stranger has not uploaded the parameters: another tenant's cannot be named.
    "api/v1/jobs": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("submitter", 201, stranger=422, body=job_file),
    },
    "api/v1/jobs/dry-run": {
        "POST": rest("submitter", 200, stranger=200, body=job_file, audited=False)
    },
    "api/v1/eligibility": {
        "POST": rest("viewer", 200, stranger=200, body=sends(public={}), audited=False)
    },
    _JOB: {"GET": rest("viewer", 200, stranger=404)},
    f"{_JOB}/cancel": {"POST": rest("submitter", 200, stranger=404)},
    f"{_JOB}/pause": {"POST": rest("submitter", 200, stranger=404)},
    f"{_JOB}/resume": {"POST": rest("submitter", 200, stranger=404)},
    f"{_JOB}/clone": {"POST": rest("submitter", 201, stranger=404)},
    f"{_JOB}/events": {"GET": rest("viewer", 200, stranger=404)},
    f"{_JOB}/manifest": {"GET": rest("viewer", 200, stranger=404)},
    f"{_JOB}/rounds": {
        "GET": rest("viewer", 200, stranger=404),
        "POST": rest("submitter", 201, stranger=404, body=next_round),
    },
    f"{_JOB}/rounds/<int:number>": {"GET": rest("viewer", 200, stranger=404)},
    f"{_JOB}/parameters": {
        "POST": rest("submitter", 201, stranger=404, body=file("round_parameters"))
    },
    f"{_JOB}/finish": {"POST": rest("submitter", 200, stranger=404)},
    f"{_JOB}/rounds/<int:number>/sum": {"GET": rest("viewer", 200, stranger=404)},
    f"{_JOB}/rounds/<int:number>/sum/download": {"GET": rest("viewer", 200, stranger=404)},
    f"{_JOB}/explanation": {"GET": rest("viewer", 200, stranger=404)},
    "api/v1/policy": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/attention": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/quota": {"GET": rest("viewer", 200, stranger=200)},
    "api/v1/policy/previews": {"POST": operators(202, body=sends(hours=1), audited=False)},
    "api/v1/policy/previews/<uuid:preview_id>": {"GET": operators(200)},
    "api/v1/usage": {"GET": rest("viewer", 200, stranger=200)},
    # Models
    "api/v1/parameters": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("submitter", 201, stranger=201, body=file("new_parameters")),
    },
    "api/v1/parameters/<str:digest>": {"GET": rest("viewer", 200, stranger=404)},
    "api/v1/programs": {
        "GET": rest("viewer", 200, stranger=200),
        "POST": rest("submitter", 201, stranger=201, body=file("new_program")),
    },
    "api/v1/programs/<str:digest>": {"GET": rest("viewer", 200, stranger=404)},
    _VERSIONS: {"GET": rest("viewer", 200, stranger=404)},
    f"{_VERSIONS}/latest/download": {"GET": rest("viewer", 200, stranger=404)},
    f"{_VERSIONS}/<int:number>/download": {"GET": rest("viewer", 200, stranger=404)},
    f"{_VERSIONS}/<int:number>/pin": {"POST": rest("submitter", 200, stranger=404)},
    # Pages
    "": {"GET": page("viewer", 200, stranger=200)},
    "sign-in/": {
        "GET": Row(dict.fromkeys(PERSONAS, 302) | dict.fromkeys(NOBODY, 200)),
        "POST": Row(
            dict.fromkeys(PERSONAS, 302) | dict.fromkeys(NOBODY, 200),
            form(username="x", password="x"),
            audited=False,
        ),
    },
    "sign-out/": {"POST": Row(dict.fromkeys(PERSONAS, 302), audited=False)},
    "tenant/": {
        "POST": Row(
            page("viewer", 302, stranger=404).expected | {"operator": 404},
            form(tenant=lambda world: str(world.tenant.id)),
            audited=False,
        )
    },
    "jobs/": {"GET": page("viewer", 200, stranger=200)},
    "jobs/new/": {
        "GET": page("submitter", 200, stranger=200),
        "POST": page("submitter", 302, stranger=422, body=new_job),
    },
    "jobs/<uuid:job_id>/": {"GET": page("viewer", 200, stranger=404)},
    "jobs/<uuid:job_id>/pause/": {"POST": page("submitter", 302, stranger=404)},
    "jobs/<uuid:job_id>/resume/": {"POST": page("submitter", 302, stranger=404, audited=False)},
    "jobs/<uuid:job_id>/cancel/": {"POST": page("submitter", 302, stranger=404)},
    "jobs/<uuid:job_id>/versions/<int:number>/pin/": {"POST": page("submitter", 302, stranger=404)},
    "devices/": {"GET": page("viewer", 200, stranger=200)},
    "devices/eligible/": {"GET": page("viewer", 200, stranger=200)},
    "devices/of/<uuid:assignment_id>/": {"GET": page("viewer", 200, stranger=404)},
    "devices/<uuid:device_id>/": {"GET": page("viewer", 200, stranger=404)},
    "devices/<uuid:device_id>/revoke/": {"POST": page("admin", 302, stranger=404)},
    "devices/pools/": {"POST": page("admin", 302, stranger=302, body=form(name="new"))},
    "devices/tokens/": {
        "POST": page(
            "admin", 200, stranger=422,
            body=form(name="x", max_uses=1, days=1, pool=lambda world: str(world.pool.id)),
        )
    },
    "devices/tokens/<uuid:token_id>/revoke/": {"POST": page("admin", 302, stranger=404)},
    "join/": {
        "GET": Row(dict.fromkeys(PERSONAS, 404)),  # without an invitation
        "POST": Row(
            # Whoever is signed in joins; who is not needs a name and a password.
            dict.fromkeys(PERSONAS, 302) | dict.fromkeys(NOBODY, 422),
            form(invitation=lambda world: world.invitation),
        ),
    },
    "usage/": {"GET": page("viewer", 200, stranger=200)},
    "usage.csv": {"GET": page("viewer", 200, stranger=200)},
    "settings/": {"GET": page("viewer", 200, stranger=200)},
    "settings/invitations/": {
        "POST": page(
            "admin", 200, stranger=200, body=form(name="Eve", role="viewer", days=1)
        )
    },
    "settings/invitations/<uuid:invitation_id>/revoke/": {"POST": page("admin", 302, stranger=404)},
    "settings/members/<int:member_id>/": {
        "POST": page("admin", 302, stranger=404, body=form(role="submitter"))
    },
    "settings/tokens/": {"GET": page("viewer", 200, stranger=200)},
    "settings/tokens/new/": {
        "POST": page("admin", 200, stranger=200, body=form(name="x", scopes="jobs:read"))
    },
    "settings/tokens/<uuid:token_id>/revoke/": {"POST": page("admin", 302, stranger=404)},
    "settings/webhooks/": {"GET": page("viewer", 200, stranger=200)},
    "settings/webhooks/new/": {
        "POST": page(
            "admin", 200, stranger=200,
            body=form(url="https://example.org/hook", kinds="job.failed"),
        )
    },
    "settings/webhooks/<uuid:webhook_id>/delete/": {"POST": page("admin", 302, stranger=404)},
    "settings/webhooks/<uuid:webhook_id>/test/": {"POST": page("admin", 302, stranger=404)},
    "settings/audit/": {"GET": page("viewer", 200, stranger=200)},
}  # fmt: skip
