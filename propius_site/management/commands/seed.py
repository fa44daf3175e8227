"""`manage.py seed`: a tenant with months of rows, to look at and measure pages at size."""

import json
import time
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs.models import Assignment
from propius_site import seeding
from tenants import services as tenant_services
from tenants.models import Role, Tenant
from tenants.scopes import system_scope


class Command(BaseCommand):
    help = "Make a tenant with many made-up jobs, rounds and devices. Never in production."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default="seeded", metavar="SLUG")
        parser.add_argument("--jobs", type=int, default=200)
        parser.add_argument("--rounds", type=int, default=20_000)
        parser.add_argument("--devices", type=int, default=50_000)
        parser.add_argument("--password", help="of its owner; else nobody can sign in as one")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError(
                "These rows are made up: PROPIUS_ENV=production has no place for them."
            )
        size = seeding.Size(options["jobs"], options["rounds"], options["devices"])
        if min(size.jobs, size.rounds, size.devices) < 1:
            raise CommandError("--jobs, --rounds and --devices: 1 or more is allowed.")
        slug, began, now = options["tenant"], time.monotonic(), timezone.now()
        with system_scope():
            if Tenant.objects.filter(slug=slug).exists():
                raise CommandError(f"There is a tenant {slug!r}; name another with --tenant.")
            made = seeding.seed(size, slug=slug, now=now)
            owner = User.objects.create_user(f"{slug}-owner", password=options["password"])
            tenant_services.add_member(tenant=made.tenant, user=owner, role=Role.OWNER, now=now)
            _, token = tenant_services.create_token(
                tenant_id=made.tenant.id, name="seed", scopes=None, created_by="operator", now=now
            )
            task = Assignment.objects.filter(tenant=made.tenant).earliest("id")
        self.stderr.write(f"made in {time.monotonic() - began:.1f} s")
        told = {"tenant": slug, "owner": owner.username, "token": token, "task": str(task.id)}
        self.stdout.write(json.dumps(told))
