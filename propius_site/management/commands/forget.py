"""`manage.py forget`: delete the embedded servers' data of this PROPIUS_HOME."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from propius_site.embedded import folders, paths


class Command(BaseCommand):
    help = "Stop the embedded servers of this PROPIUS_HOME and delete their data."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        where = paths.for_home(settings.PROPIUS_HOME)
        folders.remove(where)
        self.stdout.write(f"Deleted the embedded servers' data of {where.home}.")
