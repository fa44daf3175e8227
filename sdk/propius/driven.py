"""Driven jobs: your program owns the optimisation loop, the platform runs its rounds.

The loop starts each round with parameters and a demand of its own, and gets back the weighted sum
over the devices' updates, never a single one; see ``docs/driven-jobs.md``.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from propius.http_errors import ApiError

if TYPE_CHECKING:
    from propius.arrays import Array
    from propius.client import Client

Json = dict[str, Any]
MAX_ROUNDS = 100_000
FIRST_S, LONGEST_S = 0.05, 1.0


class RoundFailed(Exception):
    """A round that ended without a sum; ``code`` and the text say why. Another may be started."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class RoundSum:
    """What a round's devices sent, summed.

    Parameters
    ----------
    tensors
        Name to Σ weight · update, float32 (float64 where the parameters are), shaped as they are.
    weight
        Σ weight; devices weigh by their examples.
    count
        Updates that are in it, at least the job's ``min_cohort``.
    metrics
        Name to weighted mean over the updates.
    """

    tensors: Mapping[str, Array]
    weight: float
    count: int
    metrics: Mapping[str, float]

    def mean(self) -> dict[str, Array]:
        """Return Σ weight · update / Σ weight."""
        return {name: (one / self.weight).astype(one.dtype) for name, one in self.tensors.items()}


class DrivenRound:
    """A round under way."""

    def __init__(self, job: DrivenJob, number: int) -> None:
        self.number = number
        self._job = job

    def waiting(self) -> str:
        """Say in words with numbers what the round waits for, or how it ended."""
        return str(self._shown()["waiting"]["message"])

    def collect(self, *, timeout_s: float | None = None) -> RoundSum:
        """Wait for the round's end; return its sum.

        Raises
        ------
        RoundFailed
            Too few devices came or reported in time, or the job has ended.
        ApiError
            Code ``timeout``, saying what the round waits for; ask again, or end the job.
        """
        started, wait_s = time.monotonic(), FIRST_S
        while (found := self._shown())["status"] != "finished":
            if timeout_s is not None and time.monotonic() - started > timeout_s:
                why = found["waiting"]["message"]
                text = f"round {self.number} has not ended after {timeout_s:g} s: {why}"
                raise ApiError(0, "timeout", text)
            time.sleep(wait_s)
            wait_s = min(LONGEST_S, wait_s * 1.5)
        if found["outcome"] != "completed":
            code = found["reason"].get("code", found["outcome"])
            raise RoundFailed(str(code), f"round {self.number}: {found['waiting']['message']}")
        return self._job.sum_of(self.number)

    def _shown(self) -> Json:
        return self._job.client.get(f"jobs/{self._job.id}/rounds/{self.number}")


class DrivenJob:
    """A job whose rounds your program starts; made by :meth:`propius.client.Client.driven`.

    As a context manager it ends the job: as completed, or as cancelled if the block raised.
    """

    def __init__(self, client: Client, job: Mapping[str, Any]) -> None:
        self.client = client
        self.id = str(job["id"])
        self._next = 1
        for found in client.rounds(self.id):
            self._next = max(self._next, int(found["number"]) + 1)

    def start_round(
        self, parameters: Mapping[str, Array] | bytes | Path, *, demand: int | None = None
    ) -> DrivenRound:
        """Start the next round; waits until the job is admitted.

        Parameters
        ----------
        parameters
            What devices begin from: arrays by name, or a safetensors file or its bytes; names,
            shapes and dtypes as the job began with.
        demand
            Devices to ask for; without it, the job's ``rounds.demand``.

        Raises
        ------
        ApiError
            ``parameters_mismatch``, ``bad_demand``, ``round_under_way``, ``wrong_state`` and more;
            the text says what to do.
        """
        self._wait_for_admission()
        digest = self.client.upload_for_round(self.id, encoded(parameters))
        body: Json = {"number": self._next, "parameters": digest}
        if demand is not None:
            body["demand"] = demand
        self.client.post(f"jobs/{self.id}/rounds", body)
        one = DrivenRound(self, self._next)
        self._next += 1
        return one

    def sum_of(self, number: int) -> RoundSum:
        """Return the sum of a round that has ended; for the last ``retention.versions`` rounds."""
        from propius import arrays

        path = f"jobs/{self.id}/rounds/{number}/sum"
        found = self.client.get(path)
        with tempfile.TemporaryDirectory() as folder:
            file = self.client.save(f"{path}/download", Path(folder) / "sum.safetensors")
            tensors = arrays.load(file)
        return RoundSum(tensors, found["weight"], found["count"], found["metrics"])

    def close(self) -> None:
        """End the job as completed. Again is the same."""
        self.client.post(f"jobs/{self.id}/finish", None)

    def cancel(self) -> None:
        """End the job as cancelled. Again is the same."""
        self.client.cancel(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(ApiError):  # the error on its way out matters more
            self.cancel()

    def _wait_for_admission(self) -> None:
        wait_s = FIRST_S
        while (job := self.client.job(self.id))["status"] == "submitted":
            time.sleep(wait_s)
            wait_s = min(LONGEST_S, wait_s * 1.5)
        if job["status"] == "finished":
            raise ApiError(409, "wrong_state", f"the job has ended: {job['waiting']['message']}")


def prepared(spec: Mapping[str, Any], digest: str) -> Json:
    """Return the job file of a driven job that begins with these parameters."""
    rounds = {"count": MAX_ROUNDS, **spec.get("rounds", {})}
    return {"schema": 1, **spec, "driven": True, "parameters": digest, "rounds": rounds}


def encoded(parameters: Mapping[str, Array] | bytes | Path) -> bytes | Path:
    """Return parameters as a safetensors file, or its bytes."""
    if isinstance(parameters, bytes | Path):
        return parameters
    from propius import arrays

    return arrays.save(dict(parameters))
