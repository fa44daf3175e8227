"""`manage.py demo`: the platform, two tenants, 40 devices and three jobs, with one command."""

from __future__ import annotations

import fcntl
import json
import logging
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rich.console import Console

from clients import services as client_services
from clients.models import Pool
from demo import fleet, jobs, run, view
from demo.preparation import DemoFailed, Preparation
from jobs.models import Assignment
from propius.agent.identity import write_private
from propius.http_errors import ApiError
from propius_site import ports, preparing
from propius_site.embedded import folders
from propius_site.management.commands.up import Stopped
from propius_site.process_set import Platform, StartFailed
from tenants import services as tenant_services
from tenants.models import Role, Tenant
from tenants.scopes import system_scope

POOL = "shared"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in to the demo; an operator has no tenants."""

    name: str
    roles: tuple[tuple[str, str], ...]
    words: str


PEOPLE = (
    Person("operator", (), "the platform's operator, at /admin/"),
    Person("alice", ((jobs.ACME, Role.OWNER),), "owner of acme"),
    Person("bob", ((jobs.GLOBEX, Role.OWNER),), "owner of globex"),
    Person(
        "carol",
        ((jobs.ACME, Role.VIEWER), (jobs.GLOBEX, Role.VIEWER)),
        "viewer of both tenants",
    ),
)


class Command(BaseCommand):
    help = "Two tenants train three models on 40 devices, on the real platform."
    requires_system_checks = []  # Postgres may not run yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--exit",
            action="store_true",
            help="stop when the jobs are done; status 0 only if all reached their accuracy",
        )
        parser.add_argument(
            "--rounds", type=int, metavar="N", help="at most N rounds a job: a glance, no accuracy"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("The demo makes users and tenants of its own: not in production.")
        # Only now: rich must know the real terminal, and Django's wrapper is no terminal.
        console = Console(highlight=False)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        for sig in SIGNALS:
            signal.signal(sig, _stop)
        root = settings.PROPIUS_HOME / "demo"
        try:
            faults = self._run(console, root, stay=not options["exit"], rounds=options["rounds"])
        except Stopped:
            if options["exit"]:  # status 0 says that all jobs are done
                raise CommandError("Stopped before the jobs were done.") from None
            return
        except (StartFailed, ports.PortTaken, preparing.NotPrepared) as error:
            raise CommandError(str(error)) from error
        except (DemoFailed, ApiError) as error:
            raise CommandError(f"The demo failed: {error}") from error
        except (folders.UnsafeFolder, psycopg.Error, RuntimeError) as error:
            raise CommandError(f"{error}\nLogs: {settings.PROPIUS_HOME}/logs") from error
        if faults:
            raise CommandError("The demo failed: " + "; ".join(faults))

    def _run(self, console: Console, root: Path, *, stay: bool, rounds: int | None) -> list[str]:
        with _alone(root), _everything(console, root) as (preparation, hosts, ready_at, site):
            demo = run.Demo(site, preparation, hosts, console, rounds_max=rounds)
            try:
                demo.start()
                demo.watch()
                outcomes = demo.finish()
                first_at = demo.first_round_at()
            finally:
                demo.close()
            took = time.time() - ready_at.timestamp()
            console.print()
            console.print(view.results(outcomes))
            first = "–" if first_at is None else f"{(first_at - ready_at).total_seconds():.1f}"
            console.print(f"after start-up: first round {first} s, all jobs {took:.0f} s")
            faults = [fault for one in outcomes if (fault := one.fault())]
            if rounds is not None:  # too few to reach anything: completing is all that counts
                faults = [one.fault() for one in outcomes if one.outcome != "completed"]
            if stay:
                for fault in faults:
                    console.print(fault, style="red")
                console.print(f"\nLook round at {site.url}; Ctrl-C stops everything.")
                threading.Event().wait()
            return faults


@contextmanager
def _everything(
    console: Console, root: Path
) -> Iterator[tuple[Preparation, fleet.Hosts, datetime, run.Site]]:
    """Start the platform and what the demo needs; stop it in reverse, however this ends."""

    def say(line: str) -> None:
        console.print(f"propius: {line}", soft_wrap=True)

    platform, hosts = Platform(say), fleet.Hosts(root)
    try:
        with Preparation(root) as preparation, ThreadPoolExecutor(1) as threads:
            passwords = threads.submit(_passwords, root)
            began = time.monotonic()
            platform.start()
            ready_at = datetime.now(UTC)
            say(f"ready after {time.monotonic() - began:.1f} s")
            threading.Thread(target=platform.watch, daemon=True).start()
            site = _provision(passwords.result())
            _sign_in_words(console, passwords.result())
            yield preparation, hosts, ready_at, site
    finally:
        # A second Ctrl-C must not leave half of the processes behind.
        for sig in SIGNALS:
            signal.signal(sig, signal.SIG_IGN)
        hosts.stop()
        platform.stop()
        say("stopped; nothing is left running")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep a second demo from laying out the folders of devices that are running."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(
                f"it is running already in {root}: stop that with Ctrl-C, or set another "
                "PROPIUS_HOME and other ports"
            ) from None
        yield


def _passwords(root: Path) -> dict[str, tuple[str, str]]:
    """Return each person's password and its hash, the same in every demo of this PROPIUS_HOME."""
    file = root / "sign-in.json"
    if file.exists():
        known: dict[str, list[str]] = json.loads(file.read_text())
        if set(known) == {person.name for person in PEOPLE}:
            return {name: (password, hashed) for name, (password, hashed) in known.items()}
    made = {person.name: secrets.token_urlsafe(9) for person in PEOPLE}
    # Slow by design: kept, and worked out while the platform starts.
    hashed = {name: (password, make_password(password)) for name, password in made.items()}
    write_private(file, json.dumps(hashed, indent=2).encode())
    return hashed


def _provision(passwords: dict[str, tuple[str, str]]) -> run.Site:
    """Create what is missing of tenants, people and pool, and new tokens."""
    now = timezone.now()
    with system_scope():
        tenants = {slug: _tenant(slug, now) for slug in (jobs.ACME, jobs.GLOBEX)}
        for person in PEOPLE:
            _person(person, passwords[person.name][1], tenants, now)
        pool = Pool.objects.filter(name=POOL, tenant=None).first()
        pool = pool or client_services.create_pool(name=POOL, tenant_id=None, now=now)
        _, enrolment = client_services.create_enrolment_token(
            pool=pool,
            name="demo",
            max_uses=len(fleet.devices()),
            expires_at=now + timedelta(hours=1),
            created_by="operator",
            now=now,
        )
        tokens = {
            slug: tenant_services.create_token(
                tenant_id=tenant.id,
                name="demo",
                scopes=None,
                created_by="operator",
                now=now,
                expires_at=now + timedelta(days=1),
            )[1]
            for slug, tenant in tenants.items()
        }
    return run.Site(
        url=settings.PROPIUS_PUBLIC_URL.rstrip("/"),
        gateway_metrics=f"http://127.0.0.1:{settings.PROPIUS_GATEWAY_PORT}/metrics",
        tokens=tokens,
        enrolment_token=enrolment,
        devices_used=_devices_used,
    )


def _tenant(slug: str, now: datetime) -> Tenant:
    tenant = Tenant.objects.filter(slug=slug).first()
    return tenant or tenant_services.create_tenant(slug=slug, name=slug.title(), now=now)


def _person(person: Person, hashed: str, tenants: dict[str, Tenant], now: datetime) -> None:
    operator = not person.roles
    user, _ = User.objects.update_or_create(
        username=person.name,
        defaults={"password": hashed, "is_staff": operator, "is_superuser": operator},
    )
    for slug, role in person.roles:
        tenant_services.add_member(tenant=tenants[slug], user=user, role=role, now=now)


def _devices_used(job_id: str) -> int:
    reported = Assignment.objects.filter(job_id=job_id, status=Assignment.Status.REPORTED)
    with system_scope():
        return reported.values("device_id").distinct().count()


def _sign_in_words(console: Console, passwords: dict[str, tuple[str, str]]) -> None:
    console.print(f"\nSign in at {settings.PROPIUS_PUBLIC_URL}/sign-in/ as")
    for person in PEOPLE:
        password = passwords[person.name][0]
        console.print(f"  {person.name:9} {password}   {person.words}", markup=False)
    console.print(f"API and its documentation at {settings.PROPIUS_PUBLIC_URL}/api/v1/docs/\n")


def _stop(number: int, frame: object) -> None:
    raise Stopped
