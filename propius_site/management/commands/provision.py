"""Create tenants, a shared pool and tokens from the command line; prints the secrets as JSON."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection
from django.utils import timezone
from psycopg_pool import PoolTimeout

from clients import services as client_services
from clients.models import Pool
from tenants import services as tenant_services
from tenants.models import Role, Tenant
from tenants.scopes import system_scope

ENROLMENT_DAYS = 7


class Command(BaseCommand):
    """What an operator does first, and scripts do at each start: safe to repeat."""

    help = "Create tenants with an owner each, a shared pool, and tokens; prints them as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--tenant", action="append", default=[], metavar="SLUG")
        parser.add_argument("--pool", default="shared", help="name of the shared pool")
        parser.add_argument("--devices", type=int, default=100, help="uses of the enrolment token")
        parser.add_argument("--operator", metavar="NAME", help="also a superuser of this name")
        parser.add_argument("--password", help="of the people created; else they cannot sign in")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing, and new tokens each time."""
        try:
            connection.ensure_connection()
        except (OperationalError, PoolTimeout) as error:
            raise CommandError(f"No Postgres answers: start `make up` first. ({error})") from None
        now = timezone.now()
        with system_scope():
            tenants = {slug: _tenant(slug, options["password"]) for slug in options["tenant"]}
            if options["operator"]:
                _operator(options["operator"], options["password"])
            pool = Pool.objects.filter(name=options["pool"], tenant=None).first()
            pool = pool or client_services.create_pool(
                name=options["pool"], tenant_id=None, now=now
            )
            _, enrolment = client_services.create_enrolment_token(
                pool=pool,
                name="provision",
                max_uses=options["devices"],
                expires_at=now + timedelta(days=ENROLMENT_DAYS),
                created_by="operator",
                now=now,
            )
        made = {"tenants": tenants, "pool": pool.name, "enrolment_token": enrolment}
        self.stdout.write(json.dumps(made))


def _tenant(slug: str, password: str | None) -> dict[str, str]:
    now = timezone.now()
    tenant = Tenant.objects.filter(slug=slug).first()
    tenant = tenant or tenant_services.create_tenant(slug=slug, name=slug.title(), now=now)
    owner = User.objects.filter(username=f"{slug}-owner").first()
    owner = owner or User.objects.create_user(f"{slug}-owner", password=password)
    tenant_services.add_member(tenant=tenant, user=owner, role=Role.OWNER, now=now)
    _, token = tenant_services.create_token(
        tenant_id=tenant.id, name="provision", scopes=None, created_by="operator", now=now
    )
    return {"owner": owner.username, "token": token}


def _operator(name: str, password: str | None) -> None:
    if not User.objects.filter(username=name).exists():
        User.objects.create_superuser(name, password=password)
