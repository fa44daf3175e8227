"""Binding devices to rounds in Redis: what gateways call. Asynchronous, never touches the ORM.

Order of truth: the script grants, the gateway commits the rows (``jobs.services.assign``), and
only then tells the devices, and the scripts by :meth:`Binder.settle`. A grant that is never
settled counts as taken until the planner finds its row, or after some seconds that it has none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import redis.asyncio

from jobs.constraints import Group, Profile, signature
from scheduling import keys, scripts, tiers

HEARTBEAT_TTL_S = 5
MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A free device. ``assignment_id`` is the id (UUID text) that its row will have if bound."""

    device_id: str
    assignment_id: str
    signature: str


@dataclass(frozen=True, slots=True)
class ChoiceRequest:
    """A device's answer to an offer: rounds it would take, best first.

    ``refused`` are those it will not take however often they are shown: they are never offered
    to it again.
    """

    device_id: str
    assignment_id: str
    signature: str
    ranked: tuple[str, ...]
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """A slot of the round is granted, to be committed."""

    round_id: str
    plan_version: int


@dataclass(frozen=True, slots=True)
class Offered:
    """Show these rounds to the device, best first; nothing is granted yet."""

    round_ids: tuple[str, ...]
    plan_version: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """No round with a free slot for this device now."""


@dataclass(frozen=True, slots=True)
class Unplanned:
    """The plan does not know the signature yet; the next one, at most a second away, will."""


@dataclass(frozen=True, slots=True)
class StaleGroups:
    """The constraint groups have changed: fetch them, sign again, ask again."""

    version: str


@dataclass(frozen=True, slots=True)
class NoEpoch:
    """Redis was emptied and the planner has not rebuilt it yet; ask again after a plan."""


Answer = Bound | Offered | Nothing | Unplanned | StaleGroups | NoEpoch
Choice = Bound | Nothing


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a grant; ``outcome`` as :func:`jobs.services.assign` says."""

    round_id: str
    assignment_id: str
    device_id: str
    outcome: Literal["assigned", "full", "busy"]


@dataclass(frozen=True, slots=True)
class Groups:
    """All constraint groups of unfinished jobs; ``version`` is a digest of all that is here.

    ``tiers`` are the boundaries between speed tiers, if the policy tells them apart.
    """

    version: str
    groups: tuple[Group, ...] = field(repr=False)
    tiers: tiers.Bounds = ()

    def sign(self, profile: Profile) -> str:
        """Return the signature of a profile: the groups that it meets, and its tier."""
        found = signature(profile, self.groups)
        return tiers.signed(found, tiers.speed_of(profile.attributes), self.tiers)


@dataclass(frozen=True, slots=True)
class PlanNotice:
    """What the planner published: ``open`` is the number of free slots by constraint group."""

    version: int
    epoch: str
    groups: str
    open: Mapping[str, int]

    @staticmethod
    def parse(text: str | bytes) -> PlanNotice:
        """Read a message of :data:`scheduling.keys.PLAN_CHANNEL`."""
        plain = json.loads(text)
        return PlanNotice(plain["version"], plain["epoch"], plain["groups"], plain["open"])


@dataclass(frozen=True, slots=True)
class RoundInfo:
    """What an offer says of a round."""

    round_id: str
    job_id: str
    job_name: str
    tenant: str
    kind: str
    workload: Mapping[str, Any]
    private: Mapping[str, Any]


class Binder:
    """One gateway's door to the bind scripts."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._redis = redis
        self._bind = redis.register_script(scripts.text("bind"))
        self._choose = redis.register_script(scripts.text("choose"))
        self._settle = redis.register_script(scripts.text("settle"))
        self._groups: Groups | None = None

    async def bind(self, requests: Sequence[Request], groups_version: str) -> list[Answer]:
        """Find a round for each of ``requests``, in order, in one call.

        If the groups are stale or the epoch is gone, every request gets that one answer.
        """
        if not requests:
            return []
        arguments: list[str | int] = [keys.P, groups_version, random.getrandbits(31)]
        for one in requests:
            arguments += (one.device_id, one.assignment_id, one.signature)
        state, version, *found = await self._bind(args=arguments)
        if state == b"ok":
            return [_answer(one, int(version)) for one in found]
        refusal = StaleGroups(version.decode()) if state == b"stale" else NoEpoch()
        return [refusal] * len(requests)

    async def choose(self, requests: Sequence[ChoiceRequest]) -> list[Choice]:
        """Grant each device the first of its ranked rounds that is still open for it."""
        if not requests:
            return []
        arguments: list[str | int] = [keys.P]
        for one in requests:
            arguments += (one.device_id, one.assignment_id, one.signature)
            arguments += (len(one.ranked), *one.ranked, len(one.refused), *one.refused)
        version, *found = await self._choose(args=arguments)
        return [cast(Choice, _answer(one, int(version))) for one in found]

    async def settle(self, settlements: Iterable[Settlement]) -> None:
        """Say what became of grants, after their commit."""
        arguments: list[str] = [keys.P]
        for one in settlements:
            arguments += (one.round_id, one.assignment_id, one.device_id, one.outcome)
        if len(arguments) > 1:
            await self._settle(args=arguments)

    async def plan(self) -> PlanNotice | None:
        """Return what was last published, for those who lost the message; None without a plan."""
        text = await self._redis.hget(keys.PLAN, "message")
        return None if text is None else PlanNotice.parse(text)

    async def groups(self) -> Groups:
        """Return the constraint groups; parsed again only when they have changed."""
        text = await self._redis.get(keys.GROUPS)
        if text is None:
            return Groups("", ())
        plain = json.loads(text)
        if self._groups is None or self._groups.version != plain["version"]:
            groups = tuple(Group.of(one) for one in plain["groups"])
            self._groups = Groups(plain["version"], groups, tuple(plain.get("tiers", ())))
        return self._groups

    async def round_info(self, round_ids: Iterable[str]) -> dict[str, RoundInfo]:
        """Return what an offer says of rounds; those that have closed are left out."""
        wanted = list(round_ids)
        if not wanted:
            return {}
        texts = await self._redis.hmget(keys.P + "plan:info", wanted)
        return {
            round_id: RoundInfo(round_id=round_id, **json.loads(text))
            for round_id, text in zip(wanted, texts, strict=True)
            if text is not None
        }

    async def register_profiles(self, profiles: Mapping[str, Profile]) -> None:
        """Tell the planner of profiles, by key, so that their signatures are in every plan.

        Call it when a profile is new to this gateway, for all present ones when the epoch has
        changed, and every some minutes: what is not told of for an hour is forgotten.
        """
        if not profiles:
            return
        at = await self._now()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(
                keys.PROFILES,
                mapping={key: profile.as_json() for key, profile in profiles.items()},
            )
            pipe.zadd(keys.PROFILES_SEEN, dict.fromkeys(profiles, at))
            await pipe.execute()

    async def count_check_ins(self, counts: Mapping[str, int]) -> None:
        """Add check-ins by profile key to the supply."""
        if not counts:
            return
        at = int(await self._now())
        buckets = (
            (keys.supply("minute", at // 60), 3_900),
            (keys.supply("hour", at // 3_600), 90_000),
        )
        async with self._redis.pipeline(transaction=False) as pipe:
            for bucket, ttl_s in buckets:
                for profile, count in counts.items():
                    pipe.hincrby(bucket, profile, count)
                pipe.expire(bucket, ttl_s)
            await pipe.execute()

    async def heartbeat(
        self,
        gateway_id: str,
        *,
        groups_version: str,
        sockets: int,
        idle: Mapping[str, int],
        busy: Mapping[str, int],
    ) -> None:
        """Say that the gateway lives, with its idle and busy devices by signature.

        Call it every second; after five seconds of silence it counts as gone.
        """
        key = keys.gateway(gateway_id)
        beat: dict[Any, Any] = {
            "groups": groups_version,
            "sockets": sockets,
            "idle": json.dumps(idle),
            "busy": json.dumps(busy),
        }
        at = await self._now()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, mapping=beat)
            pipe.expire(key, HEARTBEAT_TTL_S)
            pipe.zadd(keys.GATEWAYS, {gateway_id: at})
            pipe.zremrangebyscore(keys.GATEWAYS, 0, at - HEARTBEAT_TTL_S)
            await pipe.execute()

    async def _now(self) -> float:
        """Redis's own clock, in seconds: the gateways' clocks may differ."""
        seconds, micros = await self._redis.time()
        return float(seconds) + float(micros) / 1e6


def _answer(found: bytes, version: int) -> Answer:
    """Read one answer: empty, ``!``, ``?round,round`` or a round."""
    text = found.decode()
    if not text:
        return Nothing()
    if text == "!":
        return Unplanned()
    if text[0] == "?":
        return Offered(tuple(text[1:].split(",")), version)
    return Bound(text, version)
