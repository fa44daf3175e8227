#!/usr/bin/env python
"""Propius's command line for operators: `./manage.py help`."""

import os
import sys

OWNERS = ("migrate", "prepare", "makemigrations", "up", "demo", "backup", "restore")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "propius_site.settings")
    if len(sys.argv) > 1 and sys.argv[1] in OWNERS:
        # These change or copy the schema, so they work as its owner whatever the terminal says.
        os.environ["PROPIUS_DB_ROLE"] = "owner"
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        settings.INSTALLED_APPS  # noqa: B018 - reads the settings
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # its message is the fix; a traceback would hide it
        sys.exit(f"propius: {error}")


if __name__ == "__main__":
    main()
