"""A device as its folder describes it: enrolment, consent, data sets, workloads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from propius.agent import conditions, consent, datasets, identity, meter, workloads
from propius.agent.conditions import Conditions
from propius.agent.consent import Consent
from propius.agent.datasets import Datasets
from propius.agent.history import History
from propius.agent.identity import Enrolment, Home
from propius.agent.judge import LocalJudge
from propius.agent.probes import Probes
from propius.agent.workloads import Handler, Workloads


@dataclass(frozen=True, slots=True)
class Device:
    """What the folder says; read once, at the start."""

    home: Home
    enrolment: Enrolment
    workloads: Workloads
    datasets: Datasets
    consent: Consent
    conditions: Conditions
    history: History

    def judge(self, *, cache_bytes: int | None = None) -> LocalJudge:
        """Return what decides which assignments may run here, with so much room for downloads."""
        probes = Probes(self.history, self.consent.file.probes)
        return LocalJudge(self.workloads, self.consent, self.datasets, probes, cache_bytes)

    def words(self) -> list[str]:
        """Say in words what this device will do, and for whom."""
        offered = self.workloads.offered()
        what = ["programs"] if "program" in offered else []
        what += [f"handler {name}" for name in offered.get("handler", [])]
        what += [f"query {name}" for name in offered.get("query", [])]
        return [
            f"device {self.enrolment.device} of pool {self.enrolment.pool}",
            f"gateway {self.enrolment.gateway}",
            f"it can run: {', '.join(what) or 'nothing (install torch, or register a handler)'}",
            f"its data sets: {', '.join(self.datasets.names()) or 'none (see datasets.toml)'}",
            *(f"consent, {line}" for line in self.consent.words()),
            *(f"condition, {line}" for line in conditions.words(self.conditions)),
            "data and private attributes stay here; updates are sent",
            self.consent.file.examples.words(),
            self.consent.file.probes.words(),
        ]


def load(
    path: Path, *, programs: bool = True, handlers: Mapping[str, Handler] | None = None
) -> Device:
    """Read a device's folder; ``handlers`` replace what it can run.

    Raises
    ------
    IdentityError
        It is not enrolled.
    OwnerFileError
        One of the owner's files cannot be read.
    """
    home = Home(Path(path))
    enrolment = identity.load_enrolment(home)
    home.prepare()
    asked = conditions.load(
        home / "conditions.toml", battery=meter.has_battery(), cores=os.cpu_count() or 1
    )
    return Device(
        home=home,
        enrolment=enrolment,
        workloads=workloads.load(home / "handlers.toml", programs=programs)
        if handlers is None
        else Workloads(dict(handlers), programs=False),
        datasets=datasets.load(home / "datasets.toml", memory_mb=asked.memory_mb),
        consent=consent.load(home / "consent.toml", pool_tenants=enrolment.pool_tenants),
        conditions=asked,
        history=History(home / "history.sqlite"),
    )
