"""Supply: which profiles there are, how often they check in, how many devices are connected."""

from __future__ import annotations

import functools
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from core import connections
from jobs.constraints import Group, Profile
from scheduling import keys, tiers

FORGET_AFTER_S = 3_600
RATES_FOR_S = 15.0


@dataclass(frozen=True, slots=True)
class Online:
    """Connected devices by signature, over all gateways that are alive."""

    idle: Mapping[str, int]
    busy: Mapping[str, int]
    sockets: int
    gateways: int


@dataclass(slots=True)
class Signer:
    """Signatures of profiles, computed once for each profile and group.

    Rounds open by the second, profiles and groups change by the minute; so a plan must not match
    every profile with every group again. Memory: one flag a profile and group.
    """

    profiles: dict[str, Profile] = field(default_factory=dict)
    speeds: dict[str, int] = field(default_factory=dict)
    _admits: dict[str, dict[str, bool]] = field(default_factory=dict)

    def signatures(self, groups: Iterable[Group], bounds: tiers.Bounds = ()) -> dict[str, str]:
        """Return profile key → signature under ``groups`` and the tiers between ``bounds``."""
        members: dict[str, list[str]] = {key: [] for key in self.profiles}
        admits: dict[str, dict[str, bool]] = {}
        for group in sorted(groups, key=lambda one: one.id):
            known = self._admits.get(group.id, {})
            flags = admits[group.id] = {
                key: known[key] if key in known else group.admits(profile)
                for key, profile in self.profiles.items()
            }
            for key, flag in flags.items():
                if flag:
                    members[key].append(group.id)
        self._admits = admits
        return {
            key: tiers.signed("+".join(ids), self.speeds[key], bounds)
            for key, ids in members.items()
        }

    def refresh(self, client: redis.Redis) -> None:
        """Read profiles that are new in Redis and forget those that are gone from it."""
        listed: list[Any] = client.hkeys(keys.PROFILES)
        present = {key.decode() for key in listed}
        for key in self.profiles.keys() - present:
            del self.profiles[key], self.speeds[key]
        new = sorted(present - self.profiles.keys())
        for key, text in zip(new, client.hmget(keys.PROFILES, new) if new else [], strict=True):
            if text is not None:
                one = self.profiles[key] = Profile.from_json(text)
                self.speeds[key] = tiers.speed_of(one.attributes)


@functools.cache
def signer() -> Signer:
    """Return this process's signer; a cache of what Redis holds, safe to lose."""
    return Signer()


def forget_old_profiles() -> None:
    """Drop profiles that no gateway has told of for an hour."""
    client = connections.soft_state()
    old = client.zrangebyscore(keys.PROFILES_SEEN, 0, _now(client) - FORGET_AFTER_S)
    if old:
        with client.pipeline() as pipe:
            pipe.hdel(keys.PROFILES, *old)
            pipe.zrem(keys.PROFILES_SEEN, *old)
            pipe.execute()


def gateways() -> dict[str, int]:
    """Return how many sockets each living gateway holds, by its id."""
    client = connections.soft_state()
    listed: list[Any] = client.zrange(keys.GATEWAYS, 0, -1)
    found = {}
    for gateway_id in (one.decode() for one in listed):
        sockets: Any = client.hget(keys.gateway(gateway_id), "sockets")
        if sockets is not None:
            found[gateway_id] = int(sockets)
    return found


def online(groups_version: str | None = None) -> Online:
    """Add up the gateways' heartbeats; only those signed under ``groups_version``, if given."""
    client = connections.soft_state()
    listed: list[Any] = client.zrange(keys.GATEWAYS, 0, -1)
    gateways = [one.decode() for one in listed]
    with client.pipeline(transaction=False) as pipe:
        for gateway_id in gateways:
            pipe.hmget(keys.gateway(gateway_id), "groups", "sockets", "idle", "busy")
        beats = [beat for beat in pipe.execute() if beat[0] is not None]
    idle: Counter[str] = Counter()
    busy: Counter[str] = Counter()
    for groups, _, idle_text, busy_text in beats:
        # Signatures under other groups would be counted as other devices than they are.
        if groups_version is None or groups.decode() == groups_version:
            idle.update(json.loads(idle_text))
            busy.update(json.loads(busy_text))
    return Online(idle, busy, sum(int(beat[1]) for beat in beats), len(beats))


def by_group(counts: Mapping[str, int]) -> Counter[str]:
    """Add up counts by signature into counts by constraint group."""
    total: Counter[str] = Counter()
    for signature, count in counts.items():
        for group in tiers.members(signature)[0]:
            total[group] += count
    return total


def check_in_rates(window_s: float) -> dict[str, float]:
    """Return check-ins per second by profile over the last ``window_s`` seconds.

    A window up to an hour is read from minutes, a longer one from hours; never more than 61 keys.
    The answer is kept for some seconds: over such windows it hardly changes.
    """
    return _rates(window_s, int(time.monotonic() / RATES_FOR_S))


def tier_bounds(count: int, window_s: float) -> tiers.Bounds:
    """Return the boundaries between ``count`` speed tiers; those of the last plan while they serve.

    By the check-ins of known profiles, or by the profiles alone until one has checked in.
    """
    if count < 2:
        return ()
    client = connections.soft_state()
    fleet = signer()
    fleet.refresh(client)
    rates = check_in_rates(window_s)
    seen = {key: rates[key] for key in fleet.speeds if key in rates} or dict.fromkeys(
        fleet.speeds, 1.0
    )
    by_speed: dict[int, float] = {}
    for key, rate in seen.items():
        speed = fleet.speeds[key]
        by_speed[speed] = by_speed.get(speed, 0.0) + rate
    before = tiers_told(count)
    bounds = tiers.in_force(before, by_speed, count)
    if bounds != before:
        client.set(keys.TIERS, json.dumps((count, bounds)))
    return bounds


def tiers_told(count: int) -> tiers.Bounds:
    """Return the boundaries between ``count`` speed tiers that the last plan went by."""
    text: Any = connections.soft_state().get(keys.TIERS) if count > 1 else None
    told_of, known = json.loads(text) if text else (count, ())
    return tuple(known) if told_of == count else ()


def rate_of(group: Group, window_s: float) -> float:
    """Return the check-ins per second of devices that ``group`` admits."""
    known = signer()
    known.refresh(connections.soft_state())
    return sum(
        rate
        for key, rate in check_in_rates(window_s).items()
        if key in known.profiles and group.admits(known.profiles[key])
    )


@functools.lru_cache(maxsize=4)
def _rates(window_s: float, _period: int) -> dict[str, float]:
    client = connections.soft_state()
    unit, size_s = ("minute", 60) if window_s <= 3_600 else ("hour", 3_600)
    at = int(_now(client))
    last = at // size_s
    first = max(last - 60, int((at - window_s) // size_s))
    with client.pipeline(transaction=False) as pipe:
        for number in range(first, last + 1):
            pipe.hgetall(keys.supply(unit, number))
        buckets = pipe.execute()
    total: Counter[str] = Counter()
    oldest = last
    for number, bucket in zip(range(first, last + 1), buckets, strict=True):
        if bucket:
            oldest = min(oldest, number)
        for key, count in bucket.items():
            total[key.decode()] += int(count)
    # A platform that is younger than the window has been counting since its first bucket.
    seconds = max(60, at - oldest * size_s)
    return {key: count / seconds for key, count in total.items()}


def _now(client: redis.Redis) -> float:
    seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6
