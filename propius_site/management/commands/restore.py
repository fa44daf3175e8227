"""`manage.py restore FOLDER/MOMENT`: bring an empty platform to a backup; its jobs go on."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from propius_site import backups, postgres_tools, preparing
from propius_site.process_set import Platform, StartFailed


class Command(BaseCommand):
    help = "Restore a backup into an empty platform. Stop the platform first."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", type=Path, help="a folder that `backup` has made")

    def handle(self, *args: Any, **options: Any) -> None:
        source = options["backup"].absolute()
        try:
            backups.read(source)  # before anything is started
            with self._servers():
                preparing.roles_and_database(settings.PROPIUS_HOME)
                backups.restore(source, now=timezone.now(), say=self.stdout.write)
                connection.close()
        except (
            backups.BackupUnusable, backups.NotEmpty, postgres_tools.ToolFailed,
            preparing.NotPrepared, StartFailed, psycopg.Error, OSError,
        ) as error:  # fmt: skip
            raise CommandError(str(error)) from error
        self.stdout.write("Restored. Start it with `make up`: devices come back by themselves.")

    @contextlib.contextmanager
    def _servers(self) -> Iterator[None]:
        """Run the embedded servers alone; those at a URL run already."""
        platform = Platform(self.stdout.write)
        try:
            platform.start_servers()
            yield
        finally:
            platform.stop()
