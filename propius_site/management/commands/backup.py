"""`manage.py backup FOLDER`: rows and blobs of one moment, while the platform goes on."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.utils import timezone
from psycopg_pool import PoolTimeout

from aggregation.blobs import BlobMissing
from propius_site import backups, postgres_tools


class Command(BaseCommand):
    help = "Back up rows and blobs, consistent with each other, into a folder; blobs are shared."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        folder = options["folder"].absolute()
        try:
            made = backups.take(folder, now=timezone.now(), say=self.stdout.write)
        except (OperationalError, PoolTimeout) as error:
            raise CommandError(f"No Postgres answers: start `make up` first. ({error})") from None
        except (postgres_tools.ToolFailed, backups.BackupUnusable, BlobMissing, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Backed up to {made}")
        self.stdout.write("Keep PROPIUS_SECRET_KEY with it, elsewhere: it is not in the backup.")
