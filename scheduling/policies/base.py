"""What a policy sees and what it answers. Pure: no clock, no I/O, no Django."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A round that asks for devices.

    Attributes
    ----------
    id, job, tenant, group
        Ids; ``group`` is its job's constraint group (Venn, section 4.1).
    demand
        Devices that the round asks for.
    remaining
        Slots that are not bound, at least 1.
    rounds_left
        Rounds of the job that are not finished, this one included.
    priority
        Of the job, from -10 to 10; a higher one goes first under every policy.
    submitted_at, opened_at
        Of the job and of the round, in seconds since 1970.
    quorum
        Answers that let the round succeed; 0 if all that it asks for.
    bound
        Devices bound to it or done with it.
    deadline_at
        When the round fails if it has not its quorum, in seconds since 1970.
    workload_s
        What a task takes on the typical device; 0 if nothing is known.
    scheduling_s, response_s
        Of the job's last round: until its devices were bound, and from there to its end; 0 if
        there was none.
    attained_s
        Device-seconds that the job has had so far.
    median_s, p95_s
        Within which half, and 95 %, of the job's devices have answered; 0 if nothing is known.
    tiers
        For each speed class, the ratio of its p95 to that of all the job's devices; empty if only
        the whole fleet's is known.
    selection_ends_at
        When the round's selection window ends, in seconds since 1970.
    """

    id: str
    job: str
    tenant: str
    group: str
    demand: int
    remaining: int
    rounds_left: int
    priority: int
    submitted_at: float
    opened_at: float
    quorum: int = 0
    bound: int = 0
    deadline_at: float = math.inf
    workload_s: float = 0.0
    scheduling_s: float = 0.0
    response_s: float = 0.0
    attained_s: float = 0.0
    median_s: float = 0.0
    p95_s: float = 0.0
    tiers: tuple[float, ...] = ()
    selection_ends_at: float = math.inf


@dataclass(frozen=True, slots=True)
class SignatureSupply:
    """Devices that meet exactly the constraint groups ``groups``.

    ``rate`` is in check-ins per second over the supply window; ``idle`` and ``busy`` count the
    devices that are connected now. ``tier`` is their speed class, 0 the fastest, if the
    snapshot tells classes apart.
    """

    signature: str
    groups: frozenset[str]
    rate: float = 0.0
    idle: int = 0
    busy: int = 0
    tier: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What a tenant may have: its weight, guarantee and ceiling in devices, and what it holds.

    ``lending_limit`` is how much of its guarantee others may have while it does not ask for it;
    None is all of it.
    ``used_s`` are its device-seconds so far, halved for every half-life that has passed since.
    """

    weight: float = 1.0
    guarantee: int = 0
    ceiling: int | None = None
    held: int = 0
    used_s: float = 0.0
    lending_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a policy may know. ``now`` is in seconds since 1970.

    ``tiers`` holds, for each speed class, the ratio of its p95 response time to the whole
    fleet's; it is empty where classes are not told apart.
    """

    now: float
    rounds: tuple[OpenRound, ...]
    supply: tuple[SignatureSupply, ...]
    shares: Mapping[str, Share] = field(default_factory=dict)
    tiers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rounds a checking-in device is tried on, in which order.

    Attributes
    ----------
    queues
        Queue name → ids of rounds, first served first. Stored once, named by many signatures.
    signatures
        Signature → names of queues. Every signature of the snapshot is there, if with no queue.
    shuffled
        Each request walks its rounds in a new random order instead.
    order
        Round → its place in one order of all. With it the queues of a signature, each sorted so,
        are merged by it; without, they are walked one after the other.
    """

    queues: Mapping[str, tuple[str, ...]]
    signatures: Mapping[str, tuple[str, ...]]
    shuffled: bool = False
    order: Mapping[str, int] | None = None

    def rounds_of(self, signature: str) -> tuple[str, ...]:
        """Return the rounds that a device of ``signature`` is tried on, in order."""
        names = self.signatures.get(signature, ())
        if len(names) == 1:
            return self.queues[names[0]]
        ids = [round_id for name in names for round_id in self.queues[name]]
        if self.order is not None:
            ids.sort(key=self.order.__getitem__)
        return tuple(ids)


class Policy(Protocol):
    """How devices are shared among rounds. One file each, named in the registry."""

    name: str

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return the plan for ``snapshot``: a function of it and of the parameters only."""
        ...


class BadParameters(ValueError):
    """Parameters that a policy does not take; ``errors`` maps each to what is allowed."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


def none_allowed(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of a policy that takes none. Raises BadParameters."""
    if parameters:
        raise BadParameters(dict.fromkeys(parameters, "this policy takes no parameters"))


def ordered_plan(
    snapshot: Snapshot, key: Callable[[OpenRound], Any], *, shuffled: bool = False
) -> Plan:
    """Serve every signature the rounds that it is eligible for in one global order.

    Parameters
    ----------
    key
        Sort key of a round; a higher priority goes before it, the round's id after it.

    Notes
    -----
    One queue a constraint group, merged by who walks it: with R open rounds and S signatures of at
    most G groups O(R log R + S·G), however many sets of groups there are.
    """
    ordered = sorted(snapshot.rounds, key=lambda one: (-one.priority, key(one), one.id))
    return plan_in_order(snapshot, ordered, shuffled=shuffled)


def plan_in_order(
    snapshot: Snapshot, ordered: Sequence[OpenRound], *, shuffled: bool = False
) -> Plan:
    """Serve every signature the rounds that it is eligible for in the order of ``ordered``."""
    found: dict[str, list[str]] = {}
    for one in ordered:
        found.setdefault(one.group, []).append(one.id)
    groups = found.keys()
    signatures = {
        supply.signature: tuple(sorted(supply.groups & groups)) for supply in snapshot.supply
    }
    named = {name for names in signatures.values() for name in names}
    return Plan(
        queues={name: tuple(queue) for name, queue in found.items() if name in named},
        signatures=signatures,
        shuffled=shuffled,
        order={one.id: place for place, one in enumerate(ordered)},
    )
