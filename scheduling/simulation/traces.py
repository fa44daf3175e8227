"""What a simulation replays: the sessions of a fleet and the jobs that ask for it."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.holdout import is_held_out

PERIOD_S = 432_000.0
"""Length of the session files' span; the next repeat of the sessions is this much later."""
EXTENDED_S = 80.0
"""Added to both ends of every session of a file."""


class BadTrace(ValueError):
    """A trace file that cannot be read; the message names file, row and what is wrong."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Sessions in order of their starts, repeated every ``period_s``.

    Attributes
    ----------
    starts, ends
        Seconds, one a session; ``ends`` may lie beyond ``period_s``.
    signatures
        Number of its signature in ``groups``, one a session.
    groups
        The constraint groups that the devices of each signature meet.
    computation_ms, communication_kbps
        Milliseconds a sample and kbit/s, one a session.
    period_s
        A session's next repeat is this much later; infinite if sessions are not repeated.
    devices, samples
        Whose session it is and how many samples that device holds; unless given, every session
        is another device's, with samples enough for any job.
    """

    starts: Sequence[float]
    ends: Sequence[float]
    signatures: Sequence[int]
    groups: tuple[frozenset[str], ...]
    computation_ms: Sequence[float]
    communication_kbps: Sequence[float]
    period_s: float = PERIOD_S
    devices: Sequence[int] | None = None
    samples: Sequence[int] | None = None

    def signature(self, number: int) -> str:
        """Return the name of signature ``number``: its groups joined as production does."""
        return "+".join(sorted(self.groups[number]))

    def available_s(self, since: float, until: float) -> float:
        """Return the device-seconds online from ``since`` to ``until``."""
        total, shift = 0.0, 0.0
        while self.starts and self.starts[0] + shift < until:
            for start, end in zip(self.starts, self.ends, strict=True):
                total += max(0.0, min(end + shift, until) - max(start + shift, since))
            shift += self.period_s
        return total

    def group_rates(self) -> dict[str, float]:
        """Return the sessions per second that begin of devices meeting each group."""
        span = self.period_s if self.period_s < math.inf else self.ends[-1] - self.starts[0]
        rates: dict[str, float] = {}
        for kind in self.signatures:
            for group in self.groups[kind]:
                rates[group] = rates.get(group, 0.0) + 1.0 / span
        return rates


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """A job of a trace: ``rounds`` rounds of ``participants`` devices, one after the other.

    ``workload_s`` is what a task takes on the typical device, ``deadline_s`` what a round may
    take from its opening. Under platform rules ``over_selection`` × ``participants`` are bound at
    most, and a device serves only with ``min_samples``: a private constraint. The share of devices
    ``held_out`` never serves: these are its training rounds.
    """

    id: str
    arrival_s: float
    group: str
    participants: int
    rounds: int
    deadline_s: float
    workload_s: float
    tenant: str = "tenant"
    priority: int = 0
    over_selection: float = 1.0
    min_samples: int = 0
    held_out: float = 0.0

    def trains_on(self, device: int) -> bool:
        """Tell whether a device is not held out from the job's training."""
        return not self.held_out or not is_held_out(self.id, str(device), self.held_out)


def load_fleet(sessions: Path, capacity: Path, eligibility: Path) -> Fleet:
    """Read a fleet from three CSV files, gzipped if the name ends so. Raises BadTrace.

    Columns: sessions ``start_s, end_s``; capacity ``computation_ms, communication_kbps``;
    eligibility ``groups`` (names separated by blanks). Capacity and eligibility are cyclic by
    the session's index.
    """
    spans = sorted(
        (float(row["start_s"]) - EXTENDED_S, place, float(row["end_s"]) + EXTENDED_S)
        for place, row in enumerate(_rows(sessions, "start_s", "end_s"))
    )
    capacities = [
        (float(row["computation_ms"]), float(row["communication_kbps"]))
        for row in _rows(capacity, "computation_ms", "communication_kbps")
    ]
    names = [frozenset(row["groups"].split()) for row in _rows(eligibility, "groups")]
    if not (spans and capacities and names):
        raise BadTrace("a trace file has no rows")
    groups = tuple(sorted(set(names), key=lambda one: (len(one), sorted(one))))
    number = {one: place for place, one in enumerate(groups)}
    kinds = [number[one] for one in names]
    places = [place for _, place, _ in spans]
    return Fleet(
        starts=[start for start, _, _ in spans],
        ends=[end for _, _, end in spans],
        signatures=[kinds[place % len(kinds)] for place in places],
        groups=groups,
        computation_ms=[capacities[place % len(capacities)][0] for place in places],
        communication_kbps=[capacities[place % len(capacities)][1] for place in places],
    )


def load_jobs(path: Path) -> list[SimulatedJob]:
    """Read jobs from a CSV file in order of arrival. Raises BadTrace."""
    columns = (
        "job", "arrival_s", "group", "participants", "rounds", "deadline_s", "workload_s",
    )  # fmt: skip
    jobs = [
        SimulatedJob(
            id=row["job"],
            arrival_s=float(row["arrival_s"]),
            group=row["group"],
            participants=int(row["participants"]),
            rounds=int(row["rounds"]),
            deadline_s=float(row["deadline_s"]),
            workload_s=float(row["workload_s"]),
            tenant=row.get("tenant") or "tenant",
            priority=int(row.get("priority") or 0),
        )
        for row in _rows(path, *columns)
    ]
    return sorted(jobs, key=lambda one: (one.arrival_s, one.id))


def _rows(path: Path, *columns: str) -> Iterator[Mapping[str, str]]:
    try:
        packed = path.suffix == ".gz"
        text = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    except (OSError, EOFError) as error:
        raise BadTrace(f"{path}: {error}") from error
    reader = csv.DictReader(io.StringIO(text.decode("utf-8-sig")))
    missing = [one for one in columns if one not in (reader.fieldnames or ())]
    if missing:
        raise BadTrace(f"{path}: no column {', '.join(missing)}")
    for number, row in enumerate(reader, start=2):
        if any(row[one] is None for one in columns):
            raise BadTrace(f"{path}, line {number}: too few columns")
        yield row
