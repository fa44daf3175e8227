"""What the plain loop hands to a script: an assignment as arrays in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from propius import arrays
from propius.agent import updates
from propius.agent.trainer import LocalWork
from propius.arrays import Array
from propius.training import data as data_sets


@dataclass(frozen=True, slots=True)
class Task:
    """One assignment, as a script sees it.

    ``kind`` is ``train``, ``evaluate`` or ``query``; ``config`` is the job's, ``data`` the data
    set's arrays of the split that this kind uses.
    """

    kind: str
    job: str
    number: int
    parameters: dict[str, Array]
    data: dict[str, Array]
    config: dict[str, Any]
    seed: int


def read(work: LocalWork) -> Task:
    """Read the model and the split of the data that this kind of work uses.

    Raises
    ------
    TensorError, OSError, ValueError
        One of them cannot be read.
    """
    one = work.assignment
    kind = "query" if one.workload.get("kind") == "query" else one.kind
    begin = work.output.with_suffix(".start")
    parameters = arrays.load(updates.start(work, begin))
    begin.unlink(missing_ok=True)
    split = "val" if kind == "evaluate" else "train"
    return Task(
        kind=kind,
        job=one.job_name,
        number=one.number,
        parameters=parameters,
        data=data_sets.split_of(data_sets.read(work.dataset), split),
        config=dict(one.workload.get("config", {})),
        seed=one.seed,
    )
