"""Speed tiers: boundaries between them, and when they move; worked out by hand."""

import pytest

from scheduling import tiers

# Steps of 1.2 from 0.1 on: score 1 is step 12, 4 is 20, 8 is 24.


def test_each_tier_gets_its_part_of_the_supply():
    supply = {24: 3.0, 20: 3.0, 12: 2.0, 5: 1.0}
    # From the fastest 3, 6, 8, 9 of 9: a third is after the first, two thirds after the second.
    assert tiers.divided(supply, 3) == (24, 20)
    # Half would be 4.5, as near to 3 as to 6: the faster one.
    assert tiers.divided(supply, 2) == (24,)


def test_devices_that_are_alike_are_one_tier():
    assert tiers.divided({12: 5.0}, 4) == ()
    assert tiers.divided({12: 5.0, 13: 0.0}, 4) == ()
    assert tiers.divided({12: 9.0, 24: 1.0}, 4) == (24,)


@pytest.mark.parametrize("score", [None, "8", True, 0, -3.0, float("nan")])
def test_a_device_that_tells_no_score_is_of_the_slowest_tier(score):
    speed = tiers.speed_of({"cpu_score": score})
    assert tiers.tier_of(speed, (24, 0)) == 2
    assert tiers.tier_of(tiers.speed_of({"cpu_score": 0.01}), (24, 0)) == 1


@pytest.mark.parametrize("score", [float("inf"), 10**400, 1e300])
def test_a_score_beyond_all_measure_is_the_fastest(score):
    assert tiers.tier_of(tiers.speed_of({"cpu_score": score}), (60, 24)) == 0


def test_boundaries_stay_while_the_largest_tier_is_at_most_half_as_large_again_as_its_part():
    known = (24,)
    assert tiers.in_force(known, {24: 3.0, 20: 1.0}, 2) == known  # 0.75 of all: 1.5 × a half
    assert tiers.in_force(known, {24: 1.0, 20: 3.0}, 2) == known
    # 0.875 of all is too much, and the boundary at 20 makes it 0.625.
    assert tiers.in_force(known, {24: 1.0, 20: 4.0, 12: 3.0}, 2) == (20,)


def test_boundaries_stay_where_others_are_hardly_better_and_where_nobody_is_known():
    # 0.8 is too much for two tiers, but with the boundary at 20 it would be 0.8 as well.
    supply = {24: 2.0, 20: 6.0, 12: 2.0}
    assert tiers.in_force((24,), supply, 2) == (24,)
    assert tiers.in_force((20,), supply, 2) == (20,)
    assert tiers.in_force((24,), {}, 2) == (24,)


def test_the_tier_is_a_member_of_the_signature_that_is_no_group():
    signed = tiers.signed("aa+bb", 20, (24, 12))
    assert (signed, signed.split("+")) == ("aa+bb+~1", ["aa", "bb", "~1"])
    assert tiers.members(signed) == ({"aa", "bb"}, 1)
    assert tiers.members("aa+bb") == ({"aa", "bb"}, None)
