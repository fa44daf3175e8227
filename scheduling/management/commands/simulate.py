"""`manage.py simulate`: replay devices and jobs under a policy, or policies × seeds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from scheduling.policies import BadParameters
from scheduling.simulation import cases, generator, plots, sweep, traces
from scheduling.simulation.traces import Fleet, SimulatedJob


class Command(BaseCommand):
    """Simulate a policy; needs neither database nor Redis."""

    help = "Simulate a scheduling policy on trace files, or on a generated fleet without them."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flags."""
        parser.add_argument("--rules", choices=cases.RULES, default="reference")
        for name in ("sessions", "capacity", "eligibility", "jobs"):
            parser.add_argument(f"--{name}", type=Path, help="CSV file, gzipped if .gz")
        parser.add_argument(
            "--policy", default="propius", help="a name, or package.module:Class of your own"
        )
        parser.add_argument("--parameters", type=json.loads, help="the policy's, as a JSON object")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--tiers", type=int, default=1, help="speed classes that a plan sees")
        parser.add_argument(
            "--sweep", metavar="POLICIESxSEEDS", help="as fifo,irs,propius x 1,2,3: a row a policy"
        )
        parser.add_argument(
            "--output", type=Path, help="write there; a sweep as Parquet if it ends in .parquet"
        )
        parser.add_argument("--plot", type=Path, help="draw a sweep into this SVG file")
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run and print."""
        _check(options)
        try:
            fleet, jobs = _traces(options)
            if options["sweep"]:
                rows = _sweep(fleet, jobs, options)
                text = json.dumps(rows) if options["json"] else sweep.as_csv(rows).rstrip("\n")
                if _write_sweep(rows, options):
                    return
            else:
                policy = sweep.load(options["policy"], options["parameters"])
                text = _shown(_run(fleet, jobs, policy, options["seed"], options), options["json"])
        except (
            traces.BadTrace, sweep.UnknownPolicy, sweep.NoParquet, BadParameters, OSError,
        ) as error:  # fmt: skip
            raise CommandError(str(error)) from error
        if options["output"]:
            options["output"].write_text(text + "\n")
        else:
            self.stdout.write(text)


def _check(options: dict[str, Any]) -> None:
    parquet = options["output"] is not None and options["output"].suffix == ".parquet"
    if not options["sweep"] and (options["plot"] or parquet):
        raise CommandError("--plot and a .parquet file are of a --sweep")
    if options["plot"] and options["plot"].suffix != ".svg":
        raise CommandError(f"--plot {options['plot']}: a file that ends in .svg is allowed")


def _traces(options: dict[str, Any]) -> tuple[Fleet, list[SimulatedJob]]:
    files = [options[name] for name in ("sessions", "capacity", "eligibility")]
    if any(files) and not all(files):
        raise CommandError("--sessions, --capacity and --eligibility go together")
    fleet = traces.load_fleet(*files) if all(files) else generator.fleet(seed=options["seed"])
    if options["jobs"]:
        return fleet, traces.load_jobs(options["jobs"])
    return fleet, generator.jobs(seed=options["seed"])


def _run(
    fleet: Fleet, jobs: list[SimulatedJob], policy: Any, seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    return cases.simulate(
        fleet, jobs, policy, rules=options["rules"], seed=seed, tiers=options["tiers"]
    )


def _sweep(fleet: Fleet, jobs: list[SimulatedJob], options: dict[str, Any]) -> list[dict[str, Any]]:
    names, cross, seeds = options["sweep"].replace("×", "x").replace(" ", "").rpartition("x")
    if not cross or not all(part.isdigit() for part in seeds.split(",")):
        raise CommandError(f"--sweep {options['sweep']!r}: fifo,propiusx1,2,3 is the form")
    return sweep.sweep(
        names.split(","),
        [int(part) for part in seeds.split(",")],
        lambda policy, seed: _run(fleet, jobs, policy, seed, options),
    )


def _write_sweep(rows: list[dict[str, Any]], options: dict[str, Any]) -> bool:
    """Write the plot, and the table if it is to be Parquet; tell whether that was the output."""
    if options["plot"]:
        options["plot"].write_text(plots.svg(rows))
    if options["output"] is None or options["output"].suffix != ".parquet":
        return False
    options["output"].write_bytes(sweep.as_parquet(rows))
    return True


def _shown(report: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(report)
    lines = [
        f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value}"
        for name, value in report.items()
        if not isinstance(value, dict | list)
    ]
    return "\n".join(lines)
