"""What each policy promises, on examples worked out by hand."""

import dataclasses
import math
import random

import pytest

from scheduling import policies
from scheduling.policies import OpenRound, Share, SignatureSupply, Snapshot, shares
from scheduling.policies.irs import delayed
from scheduling.simulation import cases
from scheduling.simulation.traces import Fleet, SimulatedJob
from scheduling.times import Times, bucket_of

NOW = 1_000.0


def round_(name, group="g", *, remaining=10, left=1, tenant="t", **values):
    return OpenRound(
        name, values.pop("job", name), tenant, group, values.pop("demand", remaining), remaining,
        left, 0, 0.0, NOW, **values,
    )  # fmt: skip


def supply(**rates):
    return tuple(
        SignatureSupply(name, frozenset(name.split("_")), rate=rate) for name, rate in rates.items()
    )


def plan(name, rounds, devices, **parameters):
    shares = parameters.pop("shares", {})
    tiers = parameters.pop("tiers", ())
    given = Snapshot(NOW, tuple(rounds), devices, shares, tiers)
    return policies.make(name, parameters).plan(given)


class TestIrs:
    def test_a_inside_a_group_the_least_remaining_demand_goes_first(self):
        rounds = [round_("b", remaining=9), round_("a", remaining=3), round_("c", remaining=7)]
        assert plan("irs", rounds, supply(g=1.0)).rounds_of("g") == ("a", "c", "b")

    def test_b_the_scarcer_group_takes_what_both_may_have(self):
        # One job each: group x keeps 3/s for itself; y has only what both may use, 1/s.
        rounds = [round_("x1", "x"), round_("y1", "y")]
        made = plan("irs", rounds, supply(x=3.0, x_y=1.0))
        assert made.rounds_of("x_y")[0] == "y1"
        assert made.rounds_of("x")[0] == "x1"

    def test_c_a_group_where_more_jobs_wait_takes_the_shared_devices(self):
        # y: 1 job, 10 devices at 1/s: 10 s. x: 6 jobs of 10 at 1/s, of which the first ends at
        # 10 s, so m = 0 are ahead of it... with demand 2 the fifth ends at 10 s: m = 4.
        # 4 / 1 > 1 / 1: x takes the shared devices.
        rounds = [round_(f"x{n}", "x", remaining=2) for n in range(6)] + [round_("y1", "y")]
        made = plan("irs", rounds, supply(x=1.0, x_y=1.0))
        assert made.rounds_of("x_y")[0] == "x0"
        # With 10 each the very first x is as slow as all of y: m = 0, y keeps them.
        rounds = [round_(f"x{n}", "x") for n in range(6)] + [round_("y1", "y")]
        assert plan("irs", rounds, supply(x=1.0, x_y=1.0)).rounds_of("x_y")[0] == "y1"

    def test_c_counts_jobs_until_the_load_is_as_long_as_the_others(self):
        assert delayed([(2, 1.0)] * 6, [(10, 1.0)]) == 4
        assert delayed([(2, 1.0)] * 3, [(10, 1.0)]) == 3

    def test_d_the_head_is_kept_for_a_tier_only_if_that_is_quicker(self):
        devices = tuple(
            SignatureSupply(f"g~{tier}", frozenset("g"), rate=1.0, tier=tier) for tier in (0, 1)
        )
        # c = 400 / 40 = 10; g = 0.3: 2 + 3 < 11. g = 1: 2 + 10 > 11.
        heads = [round_(f"h{n}", scheduling_s=40.0, response_s=400.0) for n in range(30)]
        for head in heads:
            made = plan("irs", [head, round_("z", remaining=50)], devices, tiers=(0.3, 1.0))
            assert made.rounds_of("g~0")[0] == head.id
            first = made.rounds_of("g~1")[0]
            assert first in (head.id, "z")
        restricted = [
            plan("irs", [one, round_("z", remaining=50)], devices, tiers=(0.3, 1.0)).rounds_of(
                "g~1"
            )
            for one in heads
        ]
        assert 5 < sum(served[0] == "z" for served in restricted) < 25

    def served_to_the_slow(self, head, *, rates=(1.0, 1.0), now=NOW, **parameters):
        """Who is first for a slow device, where the fast tier needs 0.3 of the time of all."""
        devices = tuple(
            SignatureSupply(f"g~{tier}", frozenset("g"), rate=rate, tier=tier)
            for tier, rate in enumerate(rates)
        )
        rounds = (head, round_("z", remaining=50))
        given = Snapshot(now, rounds, devices, tiers=(1.0, 1.0))
        return policies.make("irs", parameters).plan(given).rounds_of("g~1")[0]

    def head(self, **changes):
        """A round, drawn for the fast tier, with V + c·g = 2 + 10·0.3 = 5 < 11 = 1 + c."""
        values = {"scheduling_s": 40.0, "response_s": 400.0, "tiers": (0.3, 1.1)} | changes
        name = next(n for n in "abcdefgh" if random.Random(n).randrange(2) == 0)
        return round_(name, **values)

    def test_d_what_is_known_of_the_job_goes_before_the_fleets(self):
        assert self.served_to_the_slow(self.head()) == "z"
        assert self.served_to_the_slow(self.head(tiers=())) != "z"
        # c = 1.4: 2 + 0.42 > 2.4, and with 1.5 it is 2.45 < 2.5.
        assert self.served_to_the_slow(self.head(response_s=56.0)) != "z"
        assert self.served_to_the_slow(self.head(response_s=60.0)) == "z"

    def test_d_a_tier_of_which_the_group_has_few_is_so_much_longer_to_wait_for(self):
        # A seventh of the devices are fast: 7 + 3 < 11; a ninth: 9 + 3 > 11; none: never.
        assert self.served_to_the_slow(self.head(), rates=(1.0, 6.0)) == "z"
        assert self.served_to_the_slow(self.head(), rates=(1.0, 8.0)) != "z"
        assert self.served_to_the_slow(self.head(), rates=(0.0, 8.0)) != "z"

    def test_d_the_restriction_ends_when_the_round_has_waited_for_all_that_it_may_save(self):
        # 40 + 0.7 · 400 = 320 s.
        assert self.served_to_the_slow(self.head(), now=NOW + 319) == "z"
        assert self.served_to_the_slow(self.head(), now=NOW + 320) != "z"
        # Half of a window of 100 s; and what goes first for its age goes to all.
        window = self.head(selection_ends_at=NOW + 100)
        assert self.served_to_the_slow(window, now=NOW + 49) == "z"
        assert self.served_to_the_slow(window, now=NOW + 50) != "z"
        assert self.served_to_the_slow(self.head(), now=NOW + 9, max_wait_s=9) != "z"

    def test_d_tiers_are_a_whole_number_of_the_policy_or_of_the_one_inside_fair(self):
        assert policies.make("irs", {}).tiers == policies.make("fair", {}).tiers == 1
        assert policies.make("fair", {"within": "irs", "tiers": 3}).tiers == 3
        for name, parameters in (
            ("irs", {"tiers": 2.5}),
            ("irs", {"tiers": 11}),
            ("fair", {"within": "irs", "tiers": 0}),
            ("fair", {"within": "fifo", "tiers": 2}),
        ):
            with pytest.raises(policies.BadParameters) as caught:
                policies.make(name, parameters)
            assert set(caught.value.errors) == {"tiers"}

    def test_e_fairness_puts_the_job_that_has_had_little_first(self):
        rounds = [
            round_("had", remaining=9, workload_s=50.0, attained_s=50_000.0, left=10),
            round_("not", remaining=10, workload_s=50.0, left=10),
        ]
        assert plan("irs", rounds, supply(g=1.0)).rounds_of("g") == ("had", "not")
        assert plan("irs", rounds, supply(g=1.0), fairness=2).rounds_of("g") == ("not", "had")


class TestPropius:
    def test_the_job_with_least_work_over_all_its_rounds_goes_first(self):
        rounds = [round_("small round", remaining=5, left=100), round_("large", left=2)]
        assert plan("propius", rounds, supply(g=1.0)).rounds_of("g")[0] == "large"

    def test_a_picky_job_goes_before_a_shorter_one_that_others_can_serve(self):
        rounds = [round_("x1", "x", left=5), round_("y1", "y", left=8)]
        devices = supply(x=1.0, x_y=1.0)
        # y may have half of the devices: 8 · 0.5³ < 5.
        assert plan("propius", rounds, devices).rounds_of("x_y")[0] == "y1"
        assert plan("propius", rounds, devices, scarcity=0).rounds_of("x_y")[0] == "x1"

    def test_slots_beyond_the_quorum_come_after_the_heads_of_all(self):
        filled = round_("filled", demand=10, remaining=2, quorum=8, bound=8)
        other = round_("other", left=50, quorum=8)
        assert plan("propius", [filled, other], supply(g=1.0)).rounds_of("g") == ("other", "filled")

    def test_a_round_beyond_help_comes_last(self):
        late = round_("late", quorum=10, deadline_at=NOW + 60, workload_s=50.0)
        other = round_("other", left=50, quorum=10, deadline_at=NOW + 900, workload_s=50.0)
        assert plan("propius", [late, other], supply(g=1.0)).rounds_of("g") == ("other", "late")

    def test_devices_that_wait_already_help_a_round_that_check_ins_could_not_fill(self):
        late = round_("late", quorum=10, deadline_at=NOW + 600, workload_s=50.0)
        other = round_("other", left=50, quorum=1, deadline_at=NOW + 9_000, workload_s=50.0)
        devices = (SignatureSupply("g", frozenset("g"), rate=0.02),)
        assert plan("propius", [late, other], devices).rounds_of("g") == ("other", "late")
        waiting = (SignatureSupply("g", frozenset("g"), rate=0.02, idle=10),)
        assert plan("propius", [late, other], waiting).rounds_of("g") == ("late", "other")

    def test_a_round_that_has_begun_is_finished_first(self):
        begun = round_("begun", demand=10, remaining=3, bound=7, left=2)
        new = round_("new", left=1)
        assert plan("propius", [begun, new], supply(g=1.0)).rounds_of("g") == ("begun", "new")


class TestOthers:
    def test_srtf_counts_the_rounds_left_and_how_long_they_take(self):
        rounds = [round_("a", left=10), round_("b", left=2, response_s=500.0), round_("c", left=3)]
        assert plan("srtf", rounds, supply(g=1.0)).rounds_of("g") == ("c", "a", "b")

    def test_las_serves_who_has_had_least(self):
        rounds = [round_("a", attained_s=9.0), round_("b", attained_s=1.0)]
        assert plan("las", rounds, supply(g=1.0)).rounds_of("g") == ("b", "a")

    def test_random_by_round_keeps_to_a_round_that_has_begun(self):
        rounds = [round_(f"r{n}") for n in range(9)] + [round_("begun", bound=1)]
        made = plan("random", rounds, supply(g=1.0), each="round")
        assert made.rounds_of("g")[0] == "begun"
        assert not made.shuffled

    def test_static_keeps_a_part_when_others_leave(self):
        devices = tuple(SignatureSupply(f"g#{n}", frozenset("g"), rate=1.0) for n in range(300))
        rounds = [round_("a", demand=10), round_("b", demand=30), round_("c", demand=10)]
        before = plan("static", rounds, devices)
        after = plan("static", rounds[:2], devices)
        of_b = [one.signature for one in devices if before.rounds_of(one.signature) == ("b",)]
        assert 150 < len(of_b) < 210
        assert all(after.rounds_of(one) == ("b",) for one in of_b)


class TestFair:
    ROUNDS = (round_("a1", tenant="a"), round_("b1", tenant="b"), round_("b2", tenant="b"))

    def first(self, **shares):
        return plan("fair", self.ROUNDS, supply(g=1.0), shares=shares).rounds_of("g")[0]

    def test_who_has_used_less_for_its_weight_goes_first(self):
        assert self.first(a=Share(used_s=10), b=Share(used_s=5)) == "b1"
        assert self.first(a=Share(used_s=10, weight=3), b=Share(used_s=5)) == "a1"

    def test_a_guarantee_goes_before_use(self):
        assert self.first(a=Share(used_s=1e6, guarantee=5, held=2), b=Share()) == "a1"

    def test_a_tenant_at_its_ceiling_gets_nothing_and_others_borrow_the_rest(self):
        made = plan("fair", self.ROUNDS, supply(g=1.0), shares={"a": Share(ceiling=3, held=3)})
        assert made.rounds_of("g") == ("b1", "b2")

    def room(self, *, idle, busy=0, wanted=50, **given):
        rounds = [round_("a1", tenant="a", remaining=wanted), round_("b1", tenant="b", remaining=9)]
        devices = (SignatureSupply("g", frozenset("g"), rate=1.0, idle=idle, busy=busy),)
        return shares.room(Snapshot(NOW, tuple(rounds), devices, shares=given))

    def test_without_a_lending_limit_all_of_an_idle_guarantee_is_lent(self):
        assert self.room(idle=20, c=Share(guarantee=15)) == {}

    def test_what_a_tenant_does_not_lend_is_left_to_it(self):
        # Of c's 15 devices 12 may be had by others: 20 - 3 are given out, first come first served.
        assert self.room(idle=20, c=Share(guarantee=15, lending_limit=12)) == {"a": 17, "b": 0}
        assert self.room(idle=20, wanted=5, c=Share(guarantee=15, lending_limit=5)) == {
            "a": 5, "b": 5,
        }  # fmt: skip

    def test_a_tenant_takes_what_it_keeps_itself_and_what_others_lend(self):
        a, c = Share(guarantee=10, lending_limit=0), Share(guarantee=4, lending_limit=0)
        assert self.room(idle=20, a=a, c=c) == {"a": 16, "b": 0}

    def test_devices_bound_since_the_last_heartbeat_are_not_lent_again(self):
        c = Share(guarantee=15, lending_limit=0)
        assert self.room(idle=20, a=Share(held=5), c=c) == {"a": 0, "b": 0}
        assert self.room(idle=15, busy=5, a=Share(held=5), c=c) == {"a": 0, "b": 0}

    def test_who_may_take_only_what_others_keep_is_not_in_the_plan(self):
        given = {"c": Share(guarantee=9, lending_limit=0)}
        few = SignatureSupply("g", frozenset("g"), rate=1.0, idle=9)
        assert plan("fair", self.ROUNDS, (few,), shares=given).rounds_of("g") == ()

    def test_random_within_draws_an_order_at_each_plan_and_keeps_tenants_apart(self):
        rounds = [round_(f"{tenant}{n}", tenant=tenant) for tenant in "ab" for n in range(8)]
        given = {"a": Share(used_s=1.0)}
        orders = [
            policies.make("fair", {"within": "random"})
            .plan(Snapshot(NOW + second, tuple(rounds), supply(g=1.0), shares=given))
            .rounds_of("g")
            for second in range(5)
        ]
        assert len(set(orders)) == 5
        assert all({one[0] for one in order[:8]} == {"b"} for order in orders)

    def test_splitting_a_job_in_ten_gains_at_most_5_percent(self):
        assert share_of_a("fair", parts=10) <= 1.05 * share_of_a("fair")

    def test_misdeclaring_its_rounds_gains_at_most_5_percent(self):
        assert share_of_a("fair", lies=True) <= 1.05 * share_of_a("fair")
        # Without shares between tenants the same lie pays: the test can tell.
        assert share_of_a("propius", lies=True) > 1.05 * share_of_a("propius")


class Lying:
    """What tenant a's jobs tell: that the current round is their last."""

    name = "lying"

    def __init__(self, within):
        self.within = within

    def plan(self, snapshot):
        told = tuple(
            dataclasses.replace(one, rounds_left=1) if one.tenant == "a" else one
            for one in snapshot.rounds
        )
        return self.within.plan(dataclasses.replace(snapshot, rounds=told))


def share_of_a(name, *, parts=1, lies=False):
    """Tenant a's part of the device-seconds beside tenant b's two jobs, on a contended fleet."""
    draw = random.Random(1)
    starts = sorted(draw.uniform(0, 20_000) for _ in range(8_000))
    fleet = Fleet(
        starts, [one + 900 for one in starts], [0] * 8_000, (frozenset("g"),),
        [78.0] * 8_000, [13_736.0] * 8_000, period_s=20_000,
    )  # fmt: skip
    jobs = [
        SimulatedJob(f"a{n}", 0.0, "g", 60 // parts, 400, 600.0, 30.0, "a") for n in range(parts)
    ]
    jobs += [SimulatedJob(f"b{n}", 0.0, "g", 60, 400, 600.0, 30.0, "b") for n in range(2)]
    policy = policies.make(name, {})
    report = cases.simulate(
        fleet, jobs, Lying(policy) if lies else policy, horizon_s=12_000.0, seed=1
    )
    used = {tenant: one["busy_device_s"] for tenant, one in report["by_tenant"].items()}
    return used["a"] / sum(used.values())


class TestLearntTimes:
    def test_propius_serves_a_round_last_that_its_slow_devices_cannot_end_in_time(self):
        shape = {"deadline_at": NOW + 100, "workload_s": 20.0}
        devices = supply(g=10.0)
        slow = round_("slow", remaining=5, median_s=200.0, p95_s=400.0, **shape)
        quick = round_("quick", remaining=9, median_s=10.0, p95_s=20.0, **shape)
        unknown = round_("unknown", remaining=5, **shape)
        assert plan("propius", [slow, quick], devices).rounds_of("g") == ("quick", "slow")
        assert plan("propius", [unknown, quick], devices).rounds_of("g") == ("unknown", "quick")

    def test_srtf_takes_p95_until_a_round_has_ended(self):
        first = round_("first", remaining=9, p95_s=10.0)
        second = round_("second", remaining=9, p95_s=90.0)
        ended = round_("ended", remaining=9, p95_s=90.0, response_s=1.0)
        assert plan("srtf", [second, first, ended], supply(g=1.0)).rounds_of("g") == (
            "ended", "first", "second",
        )  # fmt: skip

    def test_quantiles_are_those_of_the_tasks_within_a_bucket_and_old_ones_are_forgotten(self):
        draw = random.Random(1)
        learnt = Times()
        for took in (draw.lognormvariate(3.0, 0.7) for _ in range(900)):
            learnt.add({bucket_of(took): 1})
        assert learnt.quantile(0.5) == pytest.approx(math.exp(3.0), rel=0.1)
        assert learnt.quantile(0.95) == pytest.approx(math.exp(3.0 + 1.645 * 0.7), rel=0.15)
        assert Times().quantile(0.5) == 0.0
        for _ in range(40):
            learnt.add({bucket_of(1.0): 100})
        assert learnt.quantile(0.5) == pytest.approx(1.0, rel=0.2)
        assert sum(learnt.counts.values()) <= 1_000
