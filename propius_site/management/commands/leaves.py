"""`manage.py leaves`: make, list and revoke leaves."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from aggregation import leaves
from aggregation.models import Leaf
from clients.models import Pool
from core.errors import PropiusError
from tenants.scopes import system_scope
from tenants.services import OPERATOR


class Command(BaseCommand):
    """The registry of leaves; run beside the platform."""

    help = "Make, list and revoke leaves; a leaf's token is shown once, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a leaf; prints its token")
        create.add_argument("name")
        create.add_argument("--url", required=True, help="where devices reach it")
        create.add_argument(
            "--pool", action="append", default=[], metavar="NAME", help="of its devices; else all"
        )
        actions.add_parser("list", help="every leaf and when it was last heard")
        revoke = actions.add_parser("revoke", help="shut a leaf out")
        revoke.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one action."""
        try:
            with system_scope():
                getattr(self, f"_{options['action']}")(options)
        except PropiusError as error:
            raise CommandError(str(error)) from error

    def _create(self, options: dict[str, Any]) -> None:
        pools = list(Pool.objects.filter(name__in=options["pool"]))
        missing = set(options["pool"]) - {one.name for one in pools}
        if missing:
            raise CommandError(f"There is no pool {', '.join(sorted(missing))}.")
        leaf, token = leaves.create_leaf(
            name=options["name"], url=options["url"], pools=pools, actor=OPERATOR,
            now=timezone.now(),
        )  # fmt: skip
        self.stdout.write(json.dumps({"leaf": leaf.name, "url": leaf.url, "token": token}))

    def _list(self, options: dict[str, Any]) -> None:
        for one in Leaf.objects.prefetch_related("pools").order_by("name"):
            state = "revoked" if one.revoked_at else f"heard {one.heard_at or 'never'}"
            pools = ", ".join(pool.name for pool in one.pools.all()) or "all pools"
            self.stdout.write(f"{one.name}  {one.url}  {pools}  {state}  {one.load}")

    def _revoke(self, options: dict[str, Any]) -> None:
        leaves.revoke_leaf(name=options["name"], actor=OPERATOR, now=timezone.now())
