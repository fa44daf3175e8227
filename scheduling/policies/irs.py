"""Intersection resource scheduling: Venn's plan over groups that share devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies.base import OpenRound, Plan, Snapshot


class Irs:
    name = "irs"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        pass

    def plan(self, snapshot: Snapshot) -> Plan:
        queues: dict[str, list[OpenRound]] = {}
        for one in snapshot.rounds:
            queues.setdefault(one.group, []).append(one)
        for queue in queues.values():
            queue.sort(key=lambda one: (-one.priority, one.remaining, one.submitted_at, one.id))
        return shared_plan(snapshot, queues)


def shared_plan(snapshot: Snapshot, queues: Mapping[str, list[OpenRound]]) -> Plan:
    eligible: dict[str, float] = dict.fromkeys(queues, 0.0)
    for one in snapshot.supply:
        for group in one.groups:
            if group in eligible:
                eligible[group] += one.rate
    ascending = sorted(queues, key=lambda group: (eligible[group], group))
    owner: dict[str, str] = {}
    got = dict.fromkeys(queues, 0.0)
    for one in snapshot.supply:
        for group in ascending:
            if group in one.groups:
                owner[one.signature] = group
                got[group] += one.rate
                break
    length = {group: float(len(queue)) for group, queue in queues.items()}
    load = {
        group: [(float(one.remaining), max(got[group], 1e-9)) for one in queue]
        for group, queue in queues.items()
    }
    descending = ascending[::-1]
    groups_of = {one.signature: one for one in snapshot.supply}
    for place, group in enumerate(descending):
        if not got[group]:
            continue
        for other in descending[place + 1 :]:
            if not got[other]:
                continue
            shared = [
                s for s, o in owner.items() if o == other and group in groups_of[s].groups
            ]
            moved = sum(groups_of[s].rate for s in shared)
            delayed = _delayed(load[group], load[other])
            if not delayed / got[group] > length[other] / got[other]:
                break
            if not moved:
                continue
            for s in shared:
                owner[s] = group
            got[group] += moved
            got[other] -= moved
            length[group] += length[other]
            load[group] = [(d, r + moved) for d, r in load[group]] + load[other]
    named: dict[str, tuple[str, ...]] = {}
    for one in snapshot.supply:
        mine = owner.get(one.signature)
        rest = [group for group in ascending if group in one.groups and group != mine]
        named[one.signature] = tuple([mine, *rest]) if mine is not None else ()
    used = {name for names in named.values() for name in names}
    return Plan(
        queues={g: tuple(one.id for one in q) for g, q in queues.items() if g in used},
        signatures=named,
    )


def _delayed(load, other) -> float:
    target = sum(d / r for d, r in other)
    total = 0.0
    for place, (d, r) in enumerate(load):
        total += d / r
        if total >= target:
            return place
    return len(load)
