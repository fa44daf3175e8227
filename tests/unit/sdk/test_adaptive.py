"""The planner: hand-computed plans, and what it refuses."""

from __future__ import annotations

import pytest

from propius import codec
from propius.adaptive import (
    Adaptive,
    Plan,
    Situation,
    Speed,
    TooSlow,
    normalise,
    plan,
    sends_differences,
)

NOTHING_KEPT = Adaptive(reserve=0.0)


def planned(adaptive: Adaptive = NOTHING_KEPT, *, steps: int | None = 10, **known: object) -> Plan:
    situation = {
        "left_s": 10.0, "examples": 320, "speed": Speed(examples_per_s=100.0),
        "up_bytes_per_s": None, "codec_bytes": {"fp32": 1000.0},
    }  # fmt: skip
    return plan(
        adaptive,
        Situation(**{**situation, **known}),  # type: ignore[arg-type]
        batch_size=32,
        local_steps=steps,
        epochs=2,
    )


def test_a_fast_device_does_all_that_the_job_says() -> None:
    assert planned(speed=Speed(examples_per_s=1e4)).max_steps == 10
    # Two epochs of ten batches.
    assert planned(steps=None, speed=Speed(examples_per_s=1e4)).max_steps == 20


@pytest.mark.parametrize(
    ("known", "steps"),
    [
        ({"speed": Speed(examples_per_s=12.5)}, 3),  # 125 examples of the 320
        ({"left_s": 1.0}, 3),
        ({"speed": Speed(examples_per_s=100.0, overhead_s=8.0)}, 6),
        ({"codec_bytes": {"fp32": 900.0}, "up_bytes_per_s": 100.0}, 3),
    ],
)
def test_a_slow_device_a_late_one_and_a_slow_link_do_fewer_steps(known, steps) -> None:
    assert planned(**known).max_steps == steps


def test_the_reserve_stays_free_and_half_of_it_is_the_last_margin() -> None:
    found = planned(Adaptive(reserve=0.5), speed=Speed(examples_per_s=32.0, overhead_s=1.0))
    assert found.max_steps == 4
    assert found.stop_after_s == pytest.approx(10 * 0.75 - 1)


def test_batches_shrink_only_where_the_job_allows_it_and_steps_would_not_fit() -> None:
    slow = Speed(examples_per_s=4.0)
    found = planned(Adaptive(reserve=0, min_steps=4, min_batch=8), speed=slow)
    assert (found.max_steps, found.batch_size) == (4, 10)
    with pytest.raises(TooSlow):
        planned(Adaptive(reserve=0, min_steps=4), speed=slow)


def test_a_smaller_codec_is_taken_where_it_leaves_more_time_and_only_there() -> None:
    sizes = {"fp32": 800.0, "fp16": 400.0, "int8": 200.0}
    assert planned(codec_bytes=sizes).codec == "fp32"
    assert planned(codec_bytes=sizes, up_bytes_per_s=100.0).codec == "fp16"
    slow = planned(codec_bytes=sizes, up_bytes_per_s=25.0)
    assert (slow.codec, slow.max_steps) == ("int8", 6)


def test_the_first_round_of_a_workload_is_ended_by_the_clock() -> None:
    found = planned(Adaptive(reserve=0.2), speed=None, steps=None, examples=None)
    assert (found.max_steps, found.stop_after_s) == (None, 9.0)


def test_it_says_in_numbers_why_not_one_step_can_make_it() -> None:
    with pytest.raises(TooSlow) as caught:
        planned(Adaptive(reserve=0.2), speed=Speed(examples_per_s=2.0, overhead_s=1.5))
    assert str(caught.value) == (
        "this device needs about 17.5 s for one step and its report; the round has 10 s left,"
        " of which 20% is kept free"
    )
    with pytest.raises(TooSlow):
        planned(left_s=0.0, speed=None)


def test_a_speed_is_learnt_by_halves() -> None:
    known = Speed(examples_per_s=100.0, overhead_s=1.0)
    assert known.learnt(Speed(examples_per_s=50.0, overhead_s=2.0)) == Speed(
        examples_per_s=75.0, overhead_s=1.5
    )


def test_partial_work_is_weighed_as_the_strategy_needs_and_others_stay_as_they_were() -> None:
    for corrects, weigh in ((True, "examples"), (False, "processed")):
        workload = {"adaptive": {"weigh": None}}
        normalise(workload, corrects=corrects)
        assert workload == {"adaptive": {"weigh": weigh}}
    workload = {"adaptive": None}
    normalise(workload, corrects=True)
    assert workload == {}


def test_a_codecs_name_tells_whether_it_sends_differences() -> None:
    assert {name for name in codec.CODECS if sends_differences(name)} == {
        name for name, one in codec.CODECS.items() if one.difference
    }
