"""The reference rules, on fleets small enough to follow by hand."""

import math

import pytest

from scheduling import policies
from scheduling.simulation import metrics
from scheduling.simulation.engine import Reference
from scheduling.simulation.traces import Fleet, SimulatedJob

TYPICAL_S = 50.0  # 30 s of work and 20 s of transfer on the typical device


def fleet(*starts, length=1_000.0, groups=("g",), kinds=None, computation=None, period=math.inf):
    count = len(starts)
    return Fleet(
        starts=list(starts),
        ends=[start + length for start in starts],
        signatures=kinds or [0] * count,
        groups=tuple(frozenset(one) for one in groups),
        computation_ms=computation or [78.0] * count,
        communication_kbps=[13_736.0] * count,
        period_s=period,
    )


def job(name="a", *, participants=5, rounds=1, deadline=300.0, arrival=0.0, group="g"):
    return SimulatedJob(name, arrival, group, participants, rounds, deadline, 30.0)


def run(given, *jobs, policy="fifo", horizon=10_000.0, **options):
    chosen = policies.make(policy, {})
    return Reference(given, jobs, chosen, horizon_s=horizon, **options).run().jobs


def test_a_round_ends_when_80_percent_have_answered():
    (one,) = run(fleet(1, 2, 3, 4, 5, 6), job(participants=5))
    assert one.aborted == 0
    # The fourth answer: checked in at 4 s, dispatched within 2 s, 50 s of work.
    assert 4 + TYPICAL_S <= one.finished_at <= 5 + TYPICAL_S + 2


def test_a_round_below_80_percent_of_devices_is_repeated_after_its_deadline():
    (one,) = run(fleet(1, 2, 3, *range(400, 410)), job(participants=5, deadline=300.0))
    assert one.aborted == 1
    assert one.finished_at > 400


def test_a_round_succeeds_at_its_deadline_with_80_percent_of_those_dispatched():
    # Four of five dispatched, one too slow: three answers are not 80 % of four.
    slow = [78.0, 78.0, 78.0, 78.0 * 100, *[78.0] * 8]
    given = fleet(1, 2, 3, 4, *range(400, 408), computation=slow, length=9_000.0)
    (one,) = run(given, job(participants=5, deadline=300.0))
    assert one.aborted == 1
    # Ten of them, two slow ones: eight of ten answer.
    slow = [78.0] * 8 + [78.0 * 100] * 2
    (one,) = run(fleet(*range(1, 11), computation=slow, length=9_000.0), job(participants=10))
    assert one.aborted == 0
    assert one.finished_at < 300


def test_a_session_too_short_for_the_typical_task_is_passed_over():
    (one,) = run(fleet(1, 2, 3, 4, 5, length=49.0), job(), horizon=500.0)
    assert one.bound == 0


def test_a_device_whose_session_ends_first_never_answers():
    given = fleet(*range(1, 6), length=60.0, computation=[780.0] * 5)
    (one,) = run(given, job(), horizon=1.0)
    assert one.answers == 0
    (one,) = run(given, job(), horizon=290.0)
    assert one.answers == 0


def test_the_sessions_are_repeated_after_their_period():
    (one,) = run(fleet(1, 2, 3, 4, 5, period=500.0), job(rounds=2), horizon=2_000.0)
    assert 500 < one.finished_at < 600


def test_a_device_goes_only_to_jobs_of_its_groups():
    given = fleet(*range(1, 13), groups=("x", "xy"), kinds=[0, 1] * 6)
    one, other = run(given, job("a", group="y", participants=5), job("b", group="x"))
    assert one.bound <= 6
    assert other.bound >= 5


@pytest.mark.parametrize("name", sorted(policies.REGISTRY))
def test_every_policy_is_deterministic_for_a_seed(name):
    given = fleet(*range(1, 400, 2), groups=("x", "xy"), kinds=[0, 1] * 100, period=400.0)
    jobs = [job(str(n), group="xy"[n % 2], rounds=3, arrival=5.0 * n) for n in range(6)]

    def times():
        done = run(given, *jobs, policy=name, seed=3)
        return [one.finished_at for one in done], [one.bound for one in done]

    first = times()
    assert str(first) == str(times())


def test_tiers_divide_the_fleet_by_speed():
    given = fleet(*range(1, 41), computation=[39.0, 390.0] * 20, period=100.0)
    engine = Reference(given, [job()], policies.make("irs", {}), tiers=2)
    assert [one % 2 for one in engine.classes.kinds[:4]] == [0, 1, 0, 1]
    assert engine.classes.ratios[0] < engine.classes.ratios[1] == 1.0
    assert engine.run().jobs[0].finished_at < 1_000


def test_metrics_of_a_run_are_the_jobs_counted_by_hand():
    engine = Reference(
        fleet(*range(1, 30), length=100.0),
        [job(), job("b", arrival=1.0)],
        policies.make("fifo", {}),
    )
    report = metrics.report(engine.run())
    assert report["jobs_finished"] == 2
    assert report["rounds_succeeded"] == 2
    assert report["rounds_aborted"] == 0
    times = [one["completion_time_s"] for one in report["by_job"]]
    assert report["mean_completion_time_s"] == pytest.approx(sum(times) / 2)
    assert 0 < report["utilisation"] <= 1
