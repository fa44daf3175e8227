"""Decides on the device whether an assignment or a candidate may run here.

In this order: can it run, does it fit, does the owner consent, is the data here, may the job ask
for more of what is private, is the data as the job needs it, do the private constraints hold. A
refusal's words never hold a private name or value.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import get_args

import msgspec

from propius import constraints, wire
from propius.agent.consent import Consent
from propius.agent.datasets import DatasetError, Datasets, DatasetUnready
from propius.agent.probes import Probes
from propius.agent.refusals import Refusal
from propius.agent.workloads import Workloads, action_of
from propius.needs import Needs, mismatch
from propius.sections import CodecName
from propius.training.config import TrainConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalJudge:
    """The judge of a real device; called with what is asked, answers ``None`` to take it."""

    workloads: Workloads
    consent: Consent
    datasets: Datasets
    probes: Probes | None = None
    cache_bytes: int | None = None

    def __call__(self, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        kind = str(asked.workload.get("kind"))
        dataset = str(asked.workload.get("dataset"))
        return (
            self._unsupported(kind, asked)
            or self._too_large(asked)
            or self.consent.check(tenant=asked.tenant, kind=kind, dataset=dataset)
            or self._unfit(dataset, asked)
        )

    def _unsupported(self, kind: str, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        if isinstance(asked, wire.Assignment) and asked.codec not in get_args(CodecName):
            return Refusal("unsupported", f"codec {asked.codec[:40]!r} is not known here")
        if kind == "program":
            if not self.workloads.programs:
                return Refusal("unsupported", "programs do not run here: torch is not installed")
            if isinstance(asked, wire.Assignment) and asked.program is None:
                return Refusal("unsupported", "the assignment names no program")
            return _unknown_training(asked)
        if kind in ("handler", "query"):
            if isinstance(asked, wire.Assignment) and asked.program is not None:
                # Consent to handlers is no consent to the code that would come with this.
                return Refusal("unsupported", f"an assignment for a {kind} brings a program")
            if self.workloads.handler_of(asked) is None:
                name, action = str(asked.workload.get("handler")), action_of(asked)
                return Refusal("unsupported", f"no handler {name!r} for a round of {action}")
            return None
        return Refusal("unsupported", f"workload kind {kind!r} is not known here")

    def _too_large(self, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        if self.cache_bytes is None or not isinstance(asked, wire.Assignment):
            return None
        size_bytes = sum(one.size_bytes for one in asked.blobs().values())
        if size_bytes <= self.cache_bytes:
            return None
        text = f"it needs {size_bytes} bytes on disk; this device keeps at most {self.cache_bytes}"
        return Refusal("too_large", text)

    def _unfit(self, dataset: str, asked: wire.Assignment | wire.Candidate) -> Refusal | None:
        if dataset not in self.datasets:
            return Refusal("dataset", f"no data set {dataset!r} on this device")
        try:
            private = self.datasets.private_attributes(dataset)
            schema = self.datasets.describe(dataset).schema
        except DatasetUnready as error:
            return Refusal("preparing", str(error))
        except DatasetError as error:
            log.warning("dataset.unusable", extra={"reason": str(error)})
            return Refusal("dataset", f"data set {dataset!r} is unusable on this device")
        try:
            conditions = constraints.parse(asked.constraints)
            wanted = msgspec.convert(asked.workload.get("needs", {}), Needs)
        except (constraints.ConstraintError, msgspec.ValidationError):
            return Refusal("unsupported", "what the job asks of the data has a form not known here")
        if self.probes is not None and not self.probes.allows(asked, conditions, wanted):
            return Refusal("probe_limit", "too many private conditions were tried on this device")
        field = mismatch(wanted, schema)
        if field is not None:
            text = f"data set {dataset!r}: {field} is not what the job needs"
            return Refusal(f"dataset.{field}", text)
        if not constraints.matches(conditions, private):
            return Refusal("private_constraint", "a private constraint does not hold")
        return None


def _unknown_training(asked: wire.Assignment | wire.Candidate) -> Refusal | None:
    """Refuse what a newer platform asks for, now rather than after the download."""
    try:
        msgspec.convert(asked.workload.get("train", {}), TrainConfig)
    except msgspec.ValidationError as error:
        return Refusal("unsupported", f"workload.train has a form not known here: {error}"[:500])
    return None
