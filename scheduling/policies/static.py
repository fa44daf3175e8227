"""Static partition: each class of devices belongs to one job, whether that needs it or not."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from scheduling.policies.base import OpenRound, Plan, Snapshot, none_allowed


class Static:
    """Give each signature to one of the jobs that it is eligible for, in proportion to demand.

    The baseline that a shared platform replaces: devices of a job whose round is full stay idle.
    A job's part moves only when jobs come or go (weighted rendezvous hashing), and only as much
    as it must. Signatures are the finest classes that a plan knows; the simulator splits each
    into ``lots`` so that the parts come out even. Not work-conserving.

    References
    ----------
    The baseline of Propius (arXiv 2510.19617); Thaler and Ravishankar, "Using name-based mappings
    to increase hit rates", IEEE/ACM Transactions on Networking 6 (1998).
    """

    name = "static"
    work_conserving = False
    lots = 200

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        none_allowed(parameters or {})

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one round a signature; O(S·R)."""
        queues: dict[str, tuple[str, ...]] = {}
        signatures: dict[str, tuple[str, ...]] = {}
        for supply in snapshot.supply:
            may = [one for one in snapshot.rounds if one.group in supply.groups]
            if not may:
                signatures[supply.signature] = ()
                continue
            job = max(may, key=lambda one, name=supply.signature: _claim(name, one)).job  # type: ignore[misc]
            queues[job] = tuple(
                sorted({one.id for one in snapshot.rounds if one.job == job and one in may})
            )
            signatures[supply.signature] = (job,)
        return Plan(queues=queues, signatures=signatures)


def _claim(signature: str, one: OpenRound) -> tuple[float, str]:
    return -one.demand / math.log(_draw(signature, one.job)), one.job


@lru_cache(maxsize=100_000)
def _draw(signature: str, job: str) -> float:
    digest = hashlib.blake2b(f"{signature}|{job}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) + 1) / (2**64 + 2)
