"""The demo's course: prepare, start the fleet, submit, watch, download, measure."""

from __future__ import annotations

import itertools
import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from demo import fleet, handlers, jobs, view
from demo.preparation import DemoFailed, Preparation
from propius import arrays
from propius.client import Client

POLL_S = 1.0
EVALUATION_POLL_S = 4.0
LATEST_ROUNDS = 30
DEFAULT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Site:
    """What the demo is told of the platform it runs on.

    ``tokens`` are API tokens by tenant; ``devices_used`` counts the devices that reported for a
    job, which only the operator may know of a shared pool.
    """

    url: str
    gateway_metrics: str
    tokens: Mapping[str, str]
    enrolment_token: str
    devices_used: Callable[[str], int]


class Demo:
    """One run against a platform that is ready."""

    def __init__(
        self,
        site: Site,
        preparation: Preparation,
        hosts: fleet.Hosts,
        console: Console,
        *,
        rounds_max: int | None = None,
    ) -> None:
        self._site = site
        self._preparation = preparation
        self._root = preparation.root
        self._hosts = hosts
        self._console = console
        self._rounds_max = rounds_max
        self._clients = {tenant: Client(site.url, token) for tenant, token in site.tokens.items()}
        self._submitted: dict[str, str] = {}
        self._accuracy: dict[str, tuple[float, float | None]] = {}

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def start(self) -> None:
        """Start the fleet and submit the jobs; the first one runs while the others are prepared.

        What an earlier demo left unfinished is cancelled.
        """
        for client in self._clients.values():
            for status in ("submitted", "running", "paused"):
                for old in list(client.jobs(status=status)):
                    client.cancel(old["id"])
        first, *others = jobs.JOBS
        self._preparation.wait_devices()
        # The devices without torch are up in a moment, and the first job needs no more.
        small, *large = fleet.groups()
        self._start_devices(small)
        self._submit(first)
        for group in large:
            self._start_devices(group)
        self._preparation.wait_programs()
        for job in others:
            self._submit(job)

    def _start_devices(self, group: fleet.Group) -> None:
        fleet.enrol_all(group, self._root, url=self._site.url, token=self._site.enrolment_token)
        self._hosts.start(group)
        self._say(f"{len(group.devices)} devices enrolled and started in {group.name}")

    def _say(self, line: str) -> None:
        self._console.print(f"demo: {line}", soft_wrap=True)

    def _submit(self, job: jobs.DemoJob) -> None:
        client = self._clients[job.tenant]
        program = None
        parameters: Path | bytes
        if job.program is None:
            parameters = arrays.save(handlers.initial())
        else:
            folder = self._root / "programs"
            program = client.upload_program(folder / f"{job.program}.program")["digest"]
            parameters = folder / f"{job.program}.safetensors"
        spec = job.complete(parameters=client.upload_parameters(parameters), program=program)
        if self._rounds_max is not None:
            count = min(spec["rounds"]["count"], self._rounds_max)
            spec = spec | {"rounds": spec["rounds"] | {"count": count}}
        submitted = self._submitted[job.name] = client.submit_job(spec)["id"]
        self._say(f"{job.tenant} submitted {job.name}: {self._site.url}/jobs/{submitted}/")

    def watch(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Show the jobs until all have finished.

        Raises
        ------
        DemoFailed
            A process of the fleet has ended, or it takes too long.
        """
        until = time.monotonic() + timeout_s
        with view.View(self._console, self._site.url) as shown:
            while True:
                rows = [self._row(job) for job in jobs.JOBS]
                shown.show(rows, self._fleet())
                if all(row.finished for row in rows):
                    return
                for fault in self._hosts.ended():
                    raise DemoFailed(fault)
                if time.monotonic() > until:
                    waiting = "; ".join(f"{r.job}: {r.state}" for r in rows if not r.finished)
                    raise DemoFailed(f"not finished after {timeout_s:.0f} s: {waiting}")
                time.sleep(POLL_S)

    def _row(self, job: jobs.DemoJob) -> view.Row:
        found = self._job(job)
        numbers = found["waiting"]["numbers"]
        finished = found["status"] == "finished"
        rounds = found["spec"]["rounds"]["count"]
        return view.Row(
            job=job.name,
            tenant=job.tenant,
            round=min(rounds, found["version"] + (not finished)),
            rounds=rounds,
            state=found["waiting"]["message"],
            bound=numbers.get("bound", 0),
            reported=numbers.get("reported", 0),
            accuracy=self._evaluated(job, found),
            finished=finished,
        )

    def _job(self, job: jobs.DemoJob) -> Mapping[str, Any]:
        return self._clients[job.tenant].job(self._submitted[job.name])

    def _evaluated(self, job: jobs.DemoJob, found: Mapping[str, Any]) -> float | None:
        """Accuracy of the newest evaluation round; asked for now and then only."""
        asked_at, accuracy = self._accuracy.get(job.name, (0.0, None))
        if found["version"] and time.monotonic() - asked_at > EVALUATION_POLL_S:
            latest = itertools.islice(self._rounds(job), LATEST_ROUNDS)
            evaluated = (one for one in latest if one["kind"] == "evaluate")
            values = (_accuracy_of(one["metrics"]) for one in evaluated)
            accuracy = next((value for value in values if value is not None), accuracy)
            self._accuracy[job.name] = time.monotonic(), accuracy
        return accuracy

    def _rounds(self, job: jobs.DemoJob) -> Any:
        return self._clients[job.tenant].rounds(self._submitted[job.name])

    def _fleet(self) -> view.FleetState:
        """Ask the gateway; a fleet line is no reason to fail."""
        try:
            with urllib.request.urlopen(self._site.gateway_metrics, timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            text = ""
        sockets, idle = (_gauge(text, f"propius_gateway_{name}") for name in ("sockets", "idle"))
        at_work = sockets - idle if sockets is not None and idle is not None else None
        return view.FleetState(len(fleet.devices()), sockets, at_work)

    def finish(self) -> list[view.Outcome]:
        """Download the models and measure them; return how each job ended."""
        return [self._outcome(job) for job in jobs.JOBS]

    def first_round_at(self) -> datetime | None:
        """Return when the first round of the first job was complete."""
        rounds = [one for one in self._rounds(jobs.JOBS[0]) if one["kind"] == "train"]
        times = [one["finished_at"] for one in rounds if one["outcome"] == "completed"]
        return min(map(datetime.fromisoformat, times), default=None)

    def _outcome(self, job: jobs.DemoJob) -> view.Outcome:
        found = self._job(job)
        client = self._clients[job.tenant]
        model, accuracy = "", None
        if found["version"] > 0:
            path = self._root / "models" / f"{job.name}.safetensors"
            client.download(found["id"], "latest", path)
            model, accuracy = str(path), jobs.accuracy(job, path)
        seconds = None
        if found["finished_at"]:
            ended, began = (
                datetime.fromisoformat(found[name]) for name in ("finished_at", "submitted_at")
            )
            seconds = (ended - began).total_seconds()
        return view.Outcome(
            job=job.name,
            tenant=job.tenant,
            outcome=found["outcome"] or found["status"],
            rounds=found["version"],
            seconds=seconds,
            devices=self._site.devices_used(found["id"]),
            model=model,
            accuracy=accuracy,
            target=job.target,
        )


def _accuracy_of(metrics: Mapping[str, Any]) -> float | None:
    value = metrics.get("accuracy")
    return float(value) if isinstance(value, int | float) else None


def _gauge(text: str, name: str) -> int | None:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else None
