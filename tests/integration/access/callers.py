"""Everybody who may come to the door, and how they ask."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db import transaction
from django.test import Client

from propius import arrays
from tenants.models import AuditEntry, Tenant
from tenants.scopes import system_scope
from tests.integration.access.matrix import OTHERS

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
    others: dict[str, tuple[str, Any]] = field(default_factory=dict)
    new_program: bytes = b""
    round_parameters: bytes = b""
    round_digest: str = ""
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


@contextmanager
def named(world, method, route):
    """Let a path name what its call is about: a token of its kind, a job that can be resumed."""
    start = next(start for start in world.tokens if route.startswith(start))
    world.arguments["<uuid:token_id>"] = world.tokens[start]
    name, other = world.others.get(OTHERS.get((method.replace("HEAD", "GET"), route)), ("", None))
    usual = world.arguments.get(name)
    world.arguments |= {name: other} if name else {}
    try:
        yield
    finally:
        world.arguments |= {name: usual} if name else {}


def asked_once(world, persona, method, route, sent):
    """Ask, and roll back what it did: the answer."""
    with named(world, method, route), transaction.atomic():
        answer = world.call(persona, method, route, **sent)
        transaction.set_rollback(True)
    return answer


def asked_twice(world, persona, method, route, sent):
    """Ask twice with one key, rolled back: each answer, and how many audit entries there were."""
    answers = []
    with named(world, method, route), transaction.atomic():
        for _ in range(2):
            headers = {"Idempotency-Key": "matrix"}
            answer = world.call(persona, method, route, **sent, headers=headers)
            if transaction.get_rollback():
                answers += [(answer, 0), (answer, 0)]
                break
            with system_scope():
                answers.append((answer, AuditEntry.objects.count()))
        transaction.set_rollback(True)
    return answers[:2]


def tried(world, persona, method, route, sent):
    """Ask within a savepoint that is rolled back: (status, audit entries that it left)."""
    with named(world, method, route), transaction.atomic():
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
