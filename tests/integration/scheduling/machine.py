"""A platform in which anything may happen at any time, driven by hypothesis; the real databases.

Gateways bind, commit, settle late or never; devices accept, decline, report, repeat themselves
and lie; planners plan from old rows; Redis is emptied; operators change policy and shares. After
each step, what must always hold is checked.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from uuid import UUID, uuid4

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from core import connections
from core.errors import PropiusError
from jobs import services as jobs
from jobs.constraints import Profile, signature
from jobs.models import Assignment, Job, Round
from scheduling import keys, planning, publishing, services
from scheduling.binding import Binder, Bound, ChoiceRequest, Offered, Request, Settlement
from tests.integration import factories
from tests.integration.scheduling.plans import open_slots

DEVICES = 14
PICK = st.integers(0, 1_000)
WORKLOADS = {"program": ["1"], "handler": ["train"]}


class Platform(RuleBasedStateMachine):
    """Three jobs of two tenants, one with private constraints, and some devices."""

    def __init__(self):
        super().__init__()
        self.redis = connections.soft_state()
        self.redis.flushall()
        self.loop = asyncio.Runner()
        self.client = connections.soft_state_async()
        self.binder = Binder(self.client)
        self.example = transaction.atomic()
        self.example.__enter__()
        self.clock = 0
        self.grants, self.lost, self.told = [], [], []
        self.offers, self.prepared = [], []
        self.committed, self.forgotten, self.loose = [], set(), set()
        self.refused = defaultdict(set)

    @initialize()
    def begin(self):
        self.pool = factories.pool(None, f"pool-{uuid4().hex[:8]}")
        self.tenants = [factories.tenant(), factories.tenant()]
        # Two profiles, so that there are signatures with one group and with two.
        self.devices = [
            factories.device(self.pool, memory_mb=512 if n % 3 else 4_096) for n in range(DEVICES)
        ]
        sizes = {
            "rounds__count": 50, "rounds__demand": 5, "rounds__max_attempts": 100,
            "rounds__over_selection": 1.2,
        }  # fmt: skip
        for n, extra in enumerate(
            (
                {},
                {"constraints__public": {"memory_mb": 1_024}},
                {"constraints__private": {"classes": {"min": 2}}},
            )
        ):
            factories.job(self.tenants[n % 2], name=f"job-{n}", **sizes, **extra)
        self.register()
        self.plan()

    def teardown(self):
        try:
            self.comes_to_rest()
        finally:
            self.loop.run(self.client.aclose())
            self.loop.close()
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # --- gateways

    @rule(picks=st.lists(PICK, min_size=1, max_size=6, unique=True))
    def check_in(self, picks):
        """Also devices that are bound ask: sockets that broke off, and those that cheat."""
        chosen = {pick % DEVICES for pick in picks}
        groups = self.loop.run(self.binder.groups())
        asked = [
            Request(str(device.id), str(uuid4()), signature(profile(device), groups.groups))
            for device in map(self.devices.__getitem__, sorted(chosen))
        ]
        answers = self.loop.run(self.binder.bind(asked, groups.version))
        for request, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Bound):
                self.grants.append((request, answer))
            elif isinstance(answer, Offered):
                self.offers.append((request, answer))

    @precondition(lambda self: self.offers)
    @rule(pick=PICK, ranked=st.lists(PICK, max_size=4), refuse=st.booleans(), lies=st.booleans())
    def choose(self, pick, ranked, refuse, lies):
        """A device ranks what it was offered, or whatever else it has heard of."""
        request, offer = self.offers.pop(pick % len(self.offers))
        rounds = list(offer.round_ids)
        if lies:
            rounds += [str(one) for one in Round.objects.values_list("id", flat=True)]
            rounds.append(str(uuid4()))
        best = tuple(dict.fromkeys(rounds[one % len(rounds)] for one in ranked))
        refused = tuple(offer.round_ids[:1]) if refuse else ()
        asked = ChoiceRequest(
            request.device_id, request.assignment_id, request.signature, best, refused
        )
        (answer,) = self.loop.run(self.binder.choose([asked]))
        for one in refused:
            self.refused[one].add(request.device_id)
        if isinstance(answer, Bound):
            self.grants.append((request, answer))

    @precondition(lambda self: self.grants)
    @rule(count=st.integers(1, 8), settled=st.booleans())
    def commit(self, count, settled):
        """Commit grants; the gateway may die before it says so."""
        batch, self.grants = self.grants[:count], self.grants[count:]
        outcomes = jobs.assign(bindings=[binding(*one) for one in batch], now=self.now)
        self.committed += batch
        self.loose |= {answer.round_id for request, answer in batch if request in self.forgotten}
        if settled:
            self.settle(batch, outcomes)
        self.told += [request for request, _ in batch]

    @precondition(lambda self: self.committed)
    @rule(pick=PICK)
    def commit_again(self, pick):
        """A commit whose answer was not heard is repeated."""
        one = self.committed[pick % len(self.committed)]
        before = Assignment.objects.filter(id=UUID(one[0].assignment_id)).first()
        outcomes = jobs.assign(bindings=[binding(*one)], now=self.now)
        if before is not None and before.status == "bound":
            assert list(outcomes.values()) == ["assigned"]

    @precondition(lambda self: self.grants)
    @rule()
    def gateway_dies(self):
        """Its grants are never committed, its offers never answered."""
        self.lost += self.grants
        self.grants, self.offers = [], []

    # --- devices

    @precondition(lambda self: self.told)
    @rule(pick=PICK, verb=st.sampled_from(["accept", "decline", "fail", "report"]))
    def device_says(self, pick, verb):
        self.say(verb, self.some(pick), self.some(pick).device_id)

    @precondition(lambda self: self.told)
    @rule(picks=st.lists(PICK, min_size=3, max_size=8))
    def devices_report(self, picks):
        for pick in picks:
            self.say("report", self.some(pick), self.some(pick).device_id)

    @precondition(lambda self: self.told)
    @rule(pick=PICK, other=PICK, verb=st.sampled_from(["accept", "decline", "report"]))
    def device_says_it_for_another(self, pick, other, verb):
        mine, device = self.some(pick), self.devices[other % DEVICES]
        if mine.device_id != str(device.id):
            assert not self.say(verb, mine, str(device.id))

    @precondition(lambda self: self.told)
    @rule(picks=st.lists(PICK, min_size=1, max_size=5))
    def devices_progress(self, picks):
        chosen = {UUID(self.some(pick).assignment_id) for pick in picks}
        jobs.renew(progress=[jobs.Progress(one, "training", 0.5) for one in chosen], now=self.now)

    # --- time, workers, people

    @rule(seconds=st.sampled_from([1, 4, 11, 31]))
    def time_passes(self, seconds):
        self.clock += seconds
        jobs.sweep(now=self.now)

    @rule(fails=st.booleans())
    def aggregator_works(self, fails):
        row = Round.objects.filter(status="aggregating").order_by("id").first()
        if row is None:
            return
        if fails:
            jobs.fail_round(round_id=row.id, code="x", message="", now=self.now)
        else:
            jobs.complete_round(
                round_id=row.id, parameters_digest="b" * 64, parameters_size=1,
                version=row.number, metrics={}, now=self.now,
            )  # fmt: skip

    @rule(pick=PICK, verb=st.sampled_from(["pause", "resume", "resume"]))
    def person_steers(self, pick, verb):
        rows = list(Job.objects.exclude(status="finished").order_by("id"))
        if rows:
            job = rows[pick % len(rows)]
            refused(getattr(jobs, verb), job_id=job.id, actor="test", now=self.now)

    @rule(name=st.sampled_from(["fifo", "random", "srsf"]))
    def operator_changes_policy(self, name):
        services.set_policy(name=name, parameters={}, author="op", reason="test", now=self.now)

    @rule(which=st.integers(0, 1), ceiling=st.sampled_from([None, 0, 3, 8]))
    def operator_changes_share(self, which, ceiling):
        services.set_share(
            tenant_id=self.tenants[which].id, weight=1, guarantee=0, ceiling=ceiling, author="op",
            now=self.now,
        )  # fmt: skip

    @rule()
    def plan(self):
        if services.plan(now=self.now):
            self.loose.clear()

    @precondition(lambda self: len(self.prepared) < 3)
    @rule()
    def planner_reads(self):
        """A planner that is slow to publish; others may come between."""
        begun = publishing.begin()
        self.prepared.append((begun, planning.prepare(begun, now=self.now)))

    @precondition(lambda self: self.prepared)
    @rule(pick=PICK)
    def planner_publishes(self, pick):
        refused(publishing.publish, *self.prepared.pop(pick % len(self.prepared)))

    @rule()
    def redis_is_emptied(self):
        self.redis.flushall()
        # Grants that were under way are unknown to it now: their slots may be granted again, and
        # whoever commits last finds the round full.
        self.forgotten |= {request for request, _ in self.grants}
        self.refused.clear()
        self.register()

    # --- what always holds

    @invariant()
    def counts_are_those_of_the_rows(self):
        held = defaultdict(Counter)
        for round_id, status in Assignment.objects.values_list("round_id", "status"):
            held[round_id][status] += 1
        for row in Round.objects.all():
            counts = held[row.id]
            taken = counts["bound"] + counts["reported"] + counts["cancelled"]
            assert row.assigned == taken <= row.target
            assert row.reported == counts["reported"] <= row.assigned
            assert row.lost == counts["declined"] + counts["failed"] + counts["expired"]
            if row.status in ("aggregating", "finished"):
                assert counts["bound"] == 0

    @invariant()
    def no_device_holds_two(self):
        bound = Assignment.objects.filter(status="bound").values_list("device_id", flat=True)
        assert len(bound) == len(set(bound))

    @invariant()
    def redis_never_offers_more_than_is_free(self):
        rows = {str(row.id): row for row in Round.objects.filter(status__in=OPEN)}
        for round_id, slots in open_slots(self.redis).items():
            assert slots >= 0
            row = rows.get(round_id)
            if row is not None and str(row.id) not in self.loose:
                assert slots <= row.target - row.assigned

    def comes_to_rest(self):
        """No slot is lost for ever: once nothing is under way, all that is free is open again."""
        if not hasattr(self, "pool"):
            return
        self.lost += self.grants
        self.grants = []
        # Six seconds pass in Redis, whose own clock counts there.
        for key in self.redis.keys(keys.P + "pending:*"):
            for member, score in self.redis.zrange(key, 0, -1, withscores=True):
                self.redis.zadd(key, {member: score - 6_000})
        for key in self.redis.keys(keys.P + "settled:*"):
            for member, score in self.redis.zrange(key, 0, -1, withscores=True):
                self.redis.zadd(key, {member: score - 6_000})
        services.plan(now=self.now)
        services.plan(now=self.now)
        rows = Round.objects.filter(status__in=OPEN, job__status="running")
        expected = {str(row.id): row.target - row.assigned for row in rows}
        assert open_slots(self.redis) == expected
        for row in rows:
            seen = {one.decode() for one in self.redis.smembers(f"{keys.P}seen:{row.id}")}
            had = Assignment.objects.filter(round=row).values_list("device_id", flat=True)
            assert {str(one) for one in had} <= seen
            assert seen <= {str(one) for one in had} | self.refused[str(row.id)]

    # --- helpers

    @property
    def now(self):
        return factories.later(self.clock)

    def some(self, pick):
        return self.told[pick % len(self.told)]

    def say(self, verb, request, device_id):
        """Have a device say something of an assignment; tells whether it was taken."""
        mine = {
            "assignment_id": UUID(request.assignment_id),
            "device_id": UUID(device_id),
            "now": self.now,
        }
        if verb in ("decline", "fail"):
            status = "declined" if verb == "decline" else "failed"
            return not refused(jobs.give_back, status=status, code="x", message="", **mine)
        return not refused(getattr(jobs, verb), **mine)

    def settle(self, batch, outcomes):
        settlements = [
            Settlement(
                answer.round_id, request.assignment_id, request.device_id,
                outcomes[UUID(request.assignment_id)],
            )
            for request, answer in batch
        ]  # fmt: skip
        self.loop.run(self.binder.settle(settlements))

    def register(self):
        profiles = {one.key: one for one in map(profile, self.devices)}
        self.loop.run(self.binder.register_profiles(profiles))


OPEN = ("selecting", "executing")


def profile(device):
    return Profile(device.attributes, WORKLOADS, str(device.pool_id))


def binding(request, answer):
    return jobs.Binding(
        UUID(request.assignment_id), UUID(answer.round_id), UUID(request.device_id),
        answer.plan_version,
    )  # fmt: skip


def refused(call, *arguments, **named):
    """Call, in a savepoint; tells whether it was refused with one of our own errors."""
    try:
        with transaction.atomic():
            call(*arguments, **named)
    except PropiusError:
        return True
    return False
