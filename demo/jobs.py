"""The demo's three jobs, as job files; what they must reach; and how the demo measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import data
from demo.fleet import DIGITS, TUMOURS

ACME, GLOBEX = "acme", "globex"
Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job of the demo.

    ``program`` names the exported network, ``None`` for the handler; ``target`` is the least
    accuracy on examples that no device has.
    """

    name: str
    tenant: str
    target: float
    spec: Spec
    program: str | None
    test: Callable[[], data.Dataset]

    def complete(self, *, parameters: str, program: str | None) -> Spec:
        """Return the job file with the digests of what was uploaded."""
        workload = self.spec["workload"] | ({"program": program} if program else {})
        return self.spec | {"parameters": parameters, "workload": workload}


def _rounds(count: int, *, over_selection: float = 1.0) -> Spec:
    return {
        "count": count,
        "demand": 8,
        "over_selection": over_selection,
        "selection_s": 30,
        "deadline_s": 60,
    }


JOBS = (
    DemoJob(
        name="tumours-logistic",
        tenant=GLOBEX,
        target=0.93,
        program=None,
        test=data.breast_cancer,
        spec={
            "schema": 1,
            "name": "tumours-logistic",
            "workload": {
                "kind": "handler",
                "handler": "logistic",
                "dataset": TUMOURS,
                "config": {"learning_rate": 0.5, "steps": 5},
            },
            "rounds": _rounds(20),
            "evaluation": {"every": 5, "demand": 8},
            "seed": 3,
        },
    ),
    DemoJob(
        name="digits-mlp",
        tenant=ACME,
        target=0.93,
        program="mlp",
        test=data.digits,
        spec={
            "schema": 1,
            "name": "digits-mlp",
            "workload": {
                "kind": "program",
                "dataset": DIGITS,
                "train": {"learning_rate": 0.3, "epochs": 3, "batch_size": 8},
            },
            "rounds": _rounds(40),
            "evaluation": {"every": 5, "demand": 8},
            "constraints": {"public": {"cpu_score": 1, "memory_mb": 1024}},
            "seed": 1,
        },
    ),
    DemoJob(
        name="digits-cnn",
        tenant=GLOBEX,
        target=0.95,
        program="cnn",
        test=data.digits,
        spec={
            "schema": 1,
            "name": "digits-cnn",
            "workload": {
                "kind": "program",
                "dataset": DIGITS,
                "train": {"learning_rate": 0.1, "momentum": 0.9, "epochs": 2, "batch_size": 16},
            },
            # One device more than asked for: the slowest of nine does not hold the round up.
            "rounds": _rounds(60, over_selection=1.125),
            "evaluation": {"every": 10, "demand": 8},
            "constraints": {
                "public": {
                    "cpu_score": 1.5,
                    "memory_mb": {"min": 4096},
                    "os": {"in": ["linux", "windows", "macos", "android"]},
                },
                "private": {"label_classes": 5},
            },
            "seed": 2,
        },
    ),
)


def accuracy(job: DemoJob, model: Path) -> float:
    """Return a downloaded model's accuracy on the test split, which no device has."""
    from demo import handlers
    from propius import arrays

    test = job.test().test
    if job.program is None:
        result = handlers.evaluate(arrays.load(model), {}, {"x": test.x, "y": test.y})
        return float(result.metrics["accuracy"])
    from demo import models

    return models.accuracy(job.program, arrays.load(model), test)
