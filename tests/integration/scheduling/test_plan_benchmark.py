"""The benchmark of planning runs, tiny; its times are reported, not asserted."""

from benchmarks import plan


def test_it_measures_from_snapshot_to_published_plan(redis):
    figures = plan.measure(rounds=5, groups=3, signatures=4, repeats=2, policy="srsf")
    assert set(figures) >= {"policy_ms", "payload_ms", "script_ms", "total_ms"}
    assert figures["total_ms"] > 0
