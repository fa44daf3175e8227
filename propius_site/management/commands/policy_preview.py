"""`manage.py policy_preview`: the last hours again, under another policy."""

import dataclasses
import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from scheduling import policies, replaying, selectors
from tenants.scopes import system_scope


class Command(BaseCommand):
    help = (
        "Replay the demand and supply of the last hours in the simulator, under the policy in "
        "force and under another one. Devices are taken to be alike and to stay for an hour, "
        "and rounds go by the simulator's reference rules: compare, do not predict."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("policy", help=f"one of {', '.join(policies.REGISTRY)}")
        parser.add_argument("--parameters", default="{}", help='JSON, as {"max_wait_s": 300}')
        parser.add_argument("--hours", type=float, default=6.0)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        try:
            parameters = json.loads(options["parameters"])
            policies.make(options["policy"], parameters)
            with system_scope():
                active = selectors.active_policy()
                since = now - timedelta(hours=options["hours"])
                fleet, jobs = replaying.recorded(since=since, now=now)
        except json.JSONDecodeError as error:
            raise CommandError(f"--parameters is no JSON: {error}") from error
        except (policies.BadParameters, replaying.NothingRecorded) as error:
            raise CommandError(str(error)) from error
        choices = {
            "in force": {"name": active.name, "parameters": active.parameters},
            "preview": {"name": options["policy"], "parameters": parameters},
        }
        found = {
            what: dataclasses.asdict(replaying.replay(fleet, jobs, one, seed=options["seed"]))
            for what, one in choices.items()
        }
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        for name in next(iter(found.values())):
            values = "".join(f"{_shown(one[name]):>16}" for one in found.values())
            self.stdout.write(f"{name:<22}{values}")


def _shown(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else "–" if value is None else str(value)
