"""Reading traces, making them up, and comparing policies over seeds."""

import gzip
import math

import pytest

from scheduling.policies.fifo import Fifo
from scheduling.simulation import cases, generator, sweep, traces


class Newest:
    """A policy from outside: the job that came last goes first."""

    name = "newest"

    def __init__(self, parameters):
        self.inner = Fifo({})

    def plan(self, snapshot):
        plan = self.inner.plan(snapshot)
        queues = {name: queue[::-1] for name, queue in plan.queues.items()}
        return type(plan)(queues=queues, signatures=plan.signatures)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(b"start_s,end_s\n100,200\n50,60\n"))
    (tmp_path / "c.csv").write_text("device,computation_ms,communication_kbps\n1,10,1000\n")
    (tmp_path / "e.csv").write_text("index,groups\n0,1 2\n1,\n")
    return tmp_path


def test_sessions_are_extended_sorted_and_meet_cyclic_capacity_and_eligibility(files):
    fleet = traces.load_fleet(files / "s.csv.gz", files / "c.csv", files / "e.csv")
    assert (fleet.starts, fleet.ends) == ([-30.0, 20.0], [140.0, 280.0])
    assert [fleet.signature(kind) for kind in fleet.signatures] == ["", "1+2"]
    assert fleet.computation_ms == [10.0, 10.0]


def test_a_file_without_its_columns_is_refused_by_name(files):
    with pytest.raises(traces.BadTrace, match=r"c\.csv: no column start_s"):
        traces.load_fleet(files / "c.csv", files / "c.csv", files / "e.csv")
    with pytest.raises(traces.BadTrace, match=r"none\.csv"):
        traces.load_jobs(files / "none.csv")


def test_generated_sessions_follow_the_day_and_are_the_same_for_a_seed():
    fleet = generator.fleet(sessions=5_000, per_s=0.05, seed=1)
    assert list(fleet.starts) == list(generator.fleet(sessions=5_000, per_s=0.05, seed=1).starts)
    day = [start % 86_400 for start in fleet.starts]
    rising, falling = sum(at < 43_200 for at in day), sum(at >= 43_200 for at in day)
    assert rising > 1.3 * falling
    lengths = sorted(end - start for start, end in zip(fleet.starts, fleet.ends, strict=True))
    assert 1_700 < lengths[2_500] < 2_350


def test_a_policy_is_loaded_by_its_import_path():
    policy = sweep.load(f"{__name__}:Newest")
    jobs = generator.jobs(count=4, seed=2)
    report = cases.simulate(generator.fleet(sessions=3_000, seed=2), jobs, policy)
    assert report["policy"] == "newest"
    assert report["jobs_finished"] == 4
    with pytest.raises(sweep.UnknownPolicy):
        sweep.load("no.such.module:Policy")


def test_intervals_are_students():
    middle, half = sweep.interval([1.0, 2.0, 3.0])
    assert middle == 2.0
    assert half == pytest.approx(4.303 / math.sqrt(3))
    assert math.isnan(sweep.interval([1.0])[1])


def test_a_sweep_has_a_row_a_policy_with_intervals():
    fleet, jobs = generator.fleet(sessions=2_000, seed=1), generator.jobs(count=3, seed=1)
    rows = sweep.sweep(
        ["fifo", "propius"],
        [1, 2],
        lambda policy, seed: cases.simulate(fleet, jobs, policy, seed=seed),
    )
    text = sweep.as_csv(rows).splitlines()
    assert text[0].startswith("policy,seeds,mean_completion_time_s,mean_completion_time_s_ci95")
    assert [line.split(",")[0] for line in text[1:]] == ["fifo", "propius"]
