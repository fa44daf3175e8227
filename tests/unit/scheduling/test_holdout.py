"""Who is held out from a job's training: the share is right, stays, and tells nothing of others."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import holdout

DEVICES = [str(UUID(int=number << 64 | number)) for number in range(4_000)]
KEYS = [f"{number:032x}" for number in range(1, 9)]


def held(key: str, fraction: float) -> set[str]:
    return {one for one in DEVICES if holdout.is_held_out(key, one, fraction)}


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5])
def test_it_holds_out_the_share_that_was_asked_for(fraction: float) -> None:
    for key in KEYS:
        # Six standard deviations of a draw without a memory; the draws here are fixed.
        spread = 6 * (len(DEVICES) * fraction * (1 - fraction)) ** 0.5
        assert len(held(key, fraction)) == pytest.approx(len(DEVICES) * fraction, abs=spread)


def test_jobs_hold_out_devices_independently_of_each_other() -> None:
    first, *others = (held(key, 0.3) for key in KEYS)
    for other in others:
        assert len(first & other) / len(first) == pytest.approx(0.3, abs=0.06)
        assert len(first - other) / len(first) == pytest.approx(0.7, abs=0.06)


def test_a_larger_share_holds_out_the_same_devices_and_more() -> None:
    assert held(KEYS[0], 0.1) < held(KEYS[0], 0.2)


@given(key=st.text("0123456789abcdef", min_size=32, max_size=32), device=st.uuids())
def test_every_device_either_trains_or_evaluates_and_stays_at_it(key: str, device: UUID) -> None:
    spec = {"evaluation": {"every": 1, "fraction": 0.4}}
    train, evaluate = (holdout.rule_of(spec, key, kind=one) for one in ("train", "evaluate"))
    assert train is not None
    assert evaluate is not None
    found = evaluate.admits(str(device))
    assert train.admits(str(device)) is not found
    again = holdout.rule_of(spec, key, kind="evaluate")
    assert again is not None
    assert again.admits(str(device)) is found


def test_a_known_device_of_a_known_job_is_where_it_was_ever() -> None:
    """A changed hash would move devices of running jobs from evaluation to training."""
    out = [number for number, one in enumerate(DEVICES[:12]) if held(KEYS[0], 0.5) >= {one}]
    assert out == [0, 1, 2, 5, 9]


def test_jobs_that_hold_out_nobody_have_no_rule() -> None:
    assert holdout.rule_of({"evaluation": {"every": 1}}, "", kind="evaluate") is None


def test_keys_are_jobs_own() -> None:
    assert len({holdout.new_key() for _ in range(50)}) == 50
