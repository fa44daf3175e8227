"""Two replays compared in words: with units, and only what is more than noise."""

import doctest

import pytest

from scheduling import comparing
from scheduling.replaying import Replay, TenantReplay


def replay(mean_s=1_800.0, waiting_s=60.0, finished=9, utilisation=0.5, policy="fair", **tenants):
    each = tuple(
        TenantReplay(name, 3, 3, mean_s, wait_s, 900.0)
        for name, wait_s in (tenants or {"acme": 60.0}).items()
    )
    return Replay(policy, 9, finished, mean_s, mean_s, waiting_s, 0, utilisation, each)


def said(present, proposed):
    return comparing.sentences(present, proposed, subject="The irs policy")


def test_examples_hold():
    assert doctest.testmod(comparing).failed == 0


def test_it_says_how_much_sooner_and_who_waits_longer():
    present = replay(acme=120.0, zoo=60.0)
    proposed = replay(1_548.0, utilisation=0.62, acme=300.0, zoo=60.4)
    assert said(present, proposed) == [
        "The irs policy would end jobs 14 % sooner: after 25.8 min instead of 30 min on average.",
        "Tenant acme would wait 3 min longer for the devices of a round: 5 min instead of 2 min.",
        "Devices would be at work 62 % of the time instead of 50 %.",
    ]


def test_noise_is_no_difference():
    assert said(replay(), replay(1_810.0)) == [
        "The irs policy would end jobs as soon as now, after 30.2 min on average.",
        "No tenant would wait noticeably longer or less.",
    ]
    assert {row.change for row in comparing.rows(replay(), replay())[:3]} == {"none"}


@pytest.mark.parametrize(("one", "text"), [(None, "neither"), (60.0, "one of the two")])
def test_jobs_that_never_finish_are_not_compared(one, text):
    found = said(replay(one), replay(None, finished=0))
    assert found[0] == f"Under {text} would a job finish."
    assert found[1].startswith("0 of 9 jobs would finish instead of 9")


def test_rows_have_units_bars_and_a_verdict():
    mean, _, _, busy, finished, failed = comparing.rows(replay(), replay(900.0, finished=8))
    assert (mean.present, mean.proposed, mean.change) == ("30 min", "15 min", "-50 %")
    assert (mean.present_part, mean.proposed_part, mean.better) == (100, 50, True)
    assert (busy.present, busy.change, busy.better) == ("50 %", "none", None)
    assert (finished.change, finished.better) == ("-1", False)
    assert (failed.change, failed.better) == ("none", None)
    chart = comparing.charts(replay(), replay())[1]
    assert [(row.label, row.present) for row in chart.rows] == [("acme", "60 s")]


def test_it_says_when_too_little_was_recorded_and_what_is_left_out():
    few, tiers, alike = comparing.caveats(jobs=1, minutes=12, tiers=True)
    assert few.startswith("Only 1 job and 12 minutes were recorded")
    assert tiers.startswith("Speed tiers are not replayed")
    assert comparing.caveats(jobs=50, minutes=300, tiers=False) == [alike]
