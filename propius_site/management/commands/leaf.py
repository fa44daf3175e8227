"""`manage.py leaf`: a data-plane node near devices; needs neither Postgres nor Redis."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    """Another machine's process: all that it knows of the platform is the root's URL."""

    help = "Run a leaf until Ctrl-C; make its token with manage.py leaves create."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--root", required=True, help="the platform's URL")
        parser.add_argument("--token", help="the leaf's; or PROPIUS_LEAF_TOKEN")
        parser.add_argument("--folder", type=Path, help="of its files; $PROPIUS_HOME/leaf")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8100)
        parser.add_argument("--cache-mb", type=int, default=20_000, help="cap of the cache")
        parser.add_argument("--push-count", type=int, default=256, help="hand over so many at most")
        parser.add_argument("--push-age", type=float, default=30.0, help="seconds to wait at most")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve."""
        token = options["token"] or os.environ.get("PROPIUS_LEAF_TOKEN", "")
        if not token:
            raise CommandError("No token: give --token or set PROPIUS_LEAF_TOKEN.")
        folder = (options["folder"] or Path(settings.PROPIUS_HOME) / "leaf").resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Its blobs are its own, also where the root is on the same machine.
        settings.PROPIUS_HOME = folder
        from aggregation.leaf import service
        from aggregation.leaf.keeper import When

        chosen = service.Options(
            root=options["root"],
            token=token,
            folder=folder,
            host=options["host"],
            port=options["port"],
            cache_bytes=options["cache_mb"] << 20,
            push=When(options["push_count"], options["push_age"]),
        )
        try:
            asyncio.run(service.Leaf(chosen).run())
        except service.ShutOut as error:
            raise CommandError(str(error)) from error
