"""`manage.py policy_preview`: the last hours again, under another policy or other shares."""

import dataclasses
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from scheduling import policies, previews, replaying
from scheduling.sharing import Terms


class Command(BaseCommand):
    help = (
        "Replay the demand and supply of the last hours in the simulator, under the policy and "
        "shares in force and under those proposed. Devices are taken to be alike and to stay for "
        "an hour: compare, do not predict."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "policy", nargs="?", help=f"one of {', '.join(policies.REGISTRY)}; else as it is"
        )
        parser.add_argument("--parameters", default="{}", help='JSON, as {"max_wait_s": 300}')
        parser.add_argument(
            "--shares", default="{}",
            help='JSON by tenant: {"acme": {"weight": 2, "guarantee": 9, "lending_limit": 4}}',
        )  # fmt: skip
        parser.add_argument("--hours", type=float, default=6.0)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        proposal = previews.Proposal(
            hours=options["hours"],
            policy=options["policy"],
            parameters=_object("--parameters", options["parameters"]),
            shares={
                slug: _terms(slug, given)
                for slug, given in _object("--shares", options["shares"]).items()
            },
            seed=options["seed"],
        )
        try:
            found = previews.preview(proposal, now=timezone.now())
        except (previews.PreviewInvalid, replaying.NothingRecorded) as error:
            raise CommandError(error.detail) from error
        plain = dataclasses.asdict(found)
        if options["json"]:
            self.stdout.write(json.dumps(plain, default=str))
            return
        present, proposed = plain["present"], plain["proposed"]
        self.stdout.write(f"{'':<30}{'in force':>16}{'proposed':>16}")
        for name in present:
            if name != "tenants":
                self._line(name, present[name], proposed[name])
        for mine, theirs in zip(present["tenants"], proposed["tenants"], strict=True):
            for name in ("finished", "mean_completion_s", "waiting_s", "device_s"):
                self._line(f"{mine['tenant']}: {name}", mine[name], theirs[name])

    def _line(self, name: str, *values: Any) -> None:
        self.stdout.write(f"{name:<30}{''.join(f'{_shown(one):>16}' for one in values)}")


def _object(flag: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(f"{flag} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise CommandError(f"{flag} {text!r}: a JSON object is allowed")
    return found


def _terms(slug: str, given: Any) -> Terms:
    allowed = {field.name for field in dataclasses.fields(Terms)}
    if not isinstance(given, dict) or not given.keys() <= allowed:
        raise CommandError(f"--shares {slug}: {given!r}; {', '.join(sorted(allowed))} are allowed")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise CommandError(f"--shares {slug}.{name}: {value!r}; a number is allowed")
    return Terms(**given)


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "–" if value is None else str(value)
