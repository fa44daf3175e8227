"""`manage.py prepare`: roles, database, grants and migrations; safe to repeat."""

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from propius_site import preparing


class Command(BaseCommand):
    help = "Create the roles and the database and apply the migrations; safe to repeat."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PROPIUS_DB_ROLE != "owner":
            raise CommandError("Run it as `manage.py prepare`: it works as the owner role.")
        try:
            preparing.roles_and_database(settings.PROPIUS_HOME)
        except psycopg.OperationalError as error:
            raise CommandError(
                f"No Postgres to prepare: {error}"
                "Start one with `manage.py up`, or set DATABASE_URL."
            ) from error
        except preparing.NotPrepared as error:
            raise CommandError(str(error)) from error
        preparing.migrate(self.stdout.write)
        self.stdout.write("The database is ready.")
