"""`manage.py up`: the whole platform, until Ctrl-C."""

import signal
import sys
import time
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from propius_site import ports, preparing
from propius_site.embedded import folders
from propius_site.process_set import Platform, StartFailed


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; a BaseException, so that nothing on the way takes it for a failure."""


class Command(BaseCommand):
    help = "Start every process of the platform and keep them alive until Ctrl-C."
    requires_system_checks = []  # Postgres may not run yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--standby",
            action="store_true",
            help="a second scheduling worker, so that planning goes on if one is lost",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, _stop)
        platform = Platform(self._say, standby=options["standby"])
        try:
            platform.start()
            self._say(f"ready after {time.monotonic() - began:.1f} s")
            self._where(platform)
            platform.watch()
            raise CommandError(f"supervisord ended: see {platform.paths.logs}/supervisord.log")
        except Stopped:
            pass
        except (StartFailed, ports.PortTaken, preparing.NotPrepared) as error:
            raise CommandError(str(error)) from error
        except (folders.UnsafeFolder, psycopg.Error, RuntimeError) as error:
            raise CommandError(f"{error}\nLogs: {platform.paths.logs}") from error
        finally:
            # A second Ctrl-C must not leave half of the processes behind.
            for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(sig, signal.SIG_IGN)
            platform.stop()
            self._say("stopped; nothing is left running")

    def _where(self, platform: Platform) -> None:
        self._say(f"web site  {settings.PROPIUS_PUBLIC_URL}")
        self._say(f"API       {settings.PROPIUS_PUBLIC_URL}/api/v1/docs/")
        self._say(f"gateway   {settings.PROPIUS_GATEWAY_URL}")
        self._say(f"logs      tail -F {platform.paths.logs}/*.log")
        self._say("Ctrl-C stops everything")

    def _say(self, line: str) -> None:
        self.stdout.write(f"propius: {line}")
        self.stdout.flush()
        sys.stdout.flush()


def _stop(number: int, frame: object) -> None:
    raise Stopped
