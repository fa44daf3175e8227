"""Platform rules: devices wait, are pushed to, serve again; rounds extend and keep devices."""

import math

from scheduling import policies
from scheduling.policies import Share
from scheduling.simulation import generator
from scheduling.simulation.baselines import FixedPartition, RandomSelection
from scheduling.simulation.platform import Platform
from scheduling.simulation.traces import Fleet, SimulatedJob


def fleet(*spans, samples=None, computation=None):
    return Fleet(
        starts=[start for start, _ in spans],
        ends=[end for _, end in spans],
        signatures=[0] * len(spans),
        groups=(frozenset("g"),),
        computation_ms=computation or [78.0] * len(spans),
        communication_kbps=[13_736.0] * len(spans),
        period_s=math.inf,
        samples=samples,
    )


def job(name="a", **values):
    given = {"participants": 2, "rounds": 3, "deadline_s": 300.0, "arrival_s": 10.0} | values
    return SimulatedJob(id=name, group="g", workload_s=30.0, **given)


def run(way, given, *jobs, horizon=5_000.0):
    return way(given, jobs, policies.make("propius", {}), horizon_s=horizon).run().jobs


LONG = [(0.0, 1e6)] * 3 + [(5_000.0, 1e6)]


def test_waiting_devices_are_bound_when_a_round_opens_and_serve_the_next_rounds_too():
    (one,) = run(Platform, fleet(*LONG), job())
    assert one.aborted == 0
    assert one.bound == 6
    assert 10 + 3 * 50 <= one.finished_at <= 10 + 3 * 51


def test_over_selection_binds_more_and_closes_at_the_demand():
    slow = [78.0, 78.0, 7_800.0, 78.0]
    (one,) = run(Platform, fleet(*LONG, computation=slow), job(rounds=1, over_selection=1.5))
    assert one.bound == 3
    assert one.finished_at == 60.0


def test_a_round_short_of_its_quorum_is_extended_and_its_devices_stay():
    given = fleet((0.0, 1e6), (400.0, 1e6), (9_000.0, 1e6))
    (one,) = run(Platform, given, job(rounds=1))
    assert one.aborted == 0
    assert one.bound == 2
    assert one.finished_at == 450.0


def test_the_slot_of_a_device_that_left_comes_back_after_its_lease():
    given = fleet((0.0, 70.0), (0.0, 1e6), (0.0, 1e6), (6_000.0, 1e6), computation=[780.0] * 4)
    (one,) = run(Platform, given, job(rounds=1, deadline_s=2_000.0))
    assert one.bound == 3
    assert one.finished_at == 70.0 + 30.0 + 320.0


def test_a_device_short_of_samples_is_never_bound():
    (one,) = run(Platform, fleet(*LONG, samples=[5, 500, 500, 500]), job(rounds=1, min_samples=100))
    assert one.bound == 2


def test_devices_that_a_job_holds_out_never_train_for_it():
    given = fleet(*[(0.0, 1e6)] * 100, (9_000.0, 1e6))
    able = sum(map(job(held_out=0.3).trains_on, range(100)))
    assert 55 < able < 85
    asked = {"rounds": 1, "participants": able + 1}
    one, other = run(Platform, given, job(held_out=0.3, **asked), job("b", **asked))
    assert (one.bound, other.bound) == (able, able + 1)


def test_ceilings_and_lending_limits_bound_what_a_tenant_holds_at_once():
    given = fleet(*[(0.0, 1e6)] * 8, (9_000.0, 1e6))
    most = {"now": 0}

    class Watched(Platform):
        def _offer(self, session):
            super()._offer(session)
            most["now"] = max(most["now"], self.holdings.held["t"])

    def held(**shares):
        most["now"] = 0
        wanted = job(rounds=1, participants=6, tenant="t")
        watched = Watched(given, [wanted], policies.make("fair", {}), shares=shares, horizon_s=3e3)
        outcome = watched.run()
        return most["now"], len(outcome.jobs[0].waits_s)

    assert held() == (6, 1)
    assert held(t=Share(ceiling=4)) == (4, 1)
    assert held(k=Share(guarantee=5, lending_limit=5)) == (6, 1)
    assert held(k=Share(guarantee=5, lending_limit=1)) == (4, 1)


def test_the_time_in_which_rounds_ask_is_counted():
    given = fleet(*LONG[:2], (100.0, 1e6), (6_000.0, 1e6))
    engine = Platform(given, [job(rounds=1, participants=3)], policies.make("propius", {}))
    outcome = engine.run()
    assert (outcome.asking_s, outcome.ended_at) == (90.0, 150.0)


def test_a_fixed_partition_leaves_devices_of_others_idle():
    given = fleet(*[(0.0, 1e6)] * 6, (6_000.0, 1e6))
    one, other = run(FixedPartition, given, job("a"), job("b", arrival_s=4_000.0))
    assert one.bound == 6
    assert other.finished_at > 4_000


def test_random_selection_waits_between_two_tries():
    (one,) = run(RandomSelection, fleet(*LONG), job(rounds=1))
    # All came at 0 s, before the job: they come back at 20 s.
    assert one.finished_at == 70.0


def test_no_round_is_over_assigned_on_a_generated_fleet():
    jobs = [
        SimulatedJob(f"{number}", 0.0, str(number % 4 + 1), 10, 5, 300.0, 30.0, over_selection=1.2)
        for number in range(8)
    ]
    engine = Platform(generator.fleet(sessions=2_000, seed=1), jobs, policies.make("propius", {}))
    done = engine.run().jobs
    assert all(one.free >= 0 and one.rounds_left == 0 for one in done)
