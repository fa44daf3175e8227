"""Versions compared, and devices chosen by a stable place."""

import doctest
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest

from clients import software
from clients.software import Requirement, Step

NOW = datetime(2026, 1, 2, tzinfo=UTC)
POOL, OTHER = UUID(int=1), UUID(int=2)
DEVICES = [str(uuid5(POOL, str(number))) for number in range(2_000)]
SOON = NOW + timedelta(hours=25)


def requirement(*steps, pool=None, minimum="0.2"):
    return Requirement(pool, "propius", minimum, tuple(Step(*one) for one in steps))


def told(asked, device, sdk="propius 0.1.9", pool=POOL, now=NOW):
    return asked.notice(device, str(pool), sdk, now)


def test_examples_hold():
    assert doctest.testmod(software).failed == 0


@pytest.mark.parametrize(
    ("sdk", "expected"),
    [
        ("propius/0.2", True), ("propius 0.2.0", True), ("propius 0.10", True),
        ("propius 1.0.dev3", True), ("propius 0.1.99", False), ("propius", False),
        ("propius newest", False), ("propius-c 0.1", None), ("", None),
    ],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(sdk, expected):
    assert software.meets(sdk, "propius", "0.2") is expected


def test_it_comes_to_about_the_part_that_was_asked_for_and_only_ever_to_more():
    chosen = [
        {one for one in DEVICES if told(requirement((percent, SOON)), one)}
        for percent in (0, 10, 50, 100)
    ]
    assert [len(one) for one in (chosen[0], chosen[3])] == [0, 2_000]
    assert 140 <= len(chosen[1]) <= 260
    assert chosen[1] < chosen[2] < chosen[3]


def test_devices_keep_the_time_of_the_step_that_came_to_them():
    asked = requirement((10, NOW), (100, SOON))
    notices = [told(asked, one) for one in DEVICES]
    early = [one for one in notices if one.bars]
    assert 140 <= len(early) <= 260
    assert {one.code for one in early} == {"upgrade_required"}
    later = next(one for one in notices if not one.bars)
    assert later.code == "upgrade_needed"
    assert later.message == (
        "this device runs propius 0.1.9; propius 0.2 or newer is needed within 1 day"
    )
    assert dict(later.errors) == {"sdk": "'propius 0.1.9'; propius 0.2 or newer is allowed"}


def test_who_meets_it_or_is_elsewhere_hears_nothing():
    asked = requirement((100, NOW), pool=POOL)
    assert told(asked, DEVICES[0]).bars
    assert told(asked, DEVICES[0], sdk="propius 0.2") is None
    assert told(asked, DEVICES[0], sdk="other 0.1") is None
    assert told(asked, DEVICES[0], pool=OTHER) is None


@pytest.mark.parametrize(
    ("left", "words"),
    [(59, "a minute"), (60, "1 minute"), (7_200, "2 hours"), (3 * 86_400, "3 days")],
)
def test_time_is_told_in_its_largest_unit(left, words):
    notice = told(requirement((100, NOW + timedelta(seconds=left))), DEVICES[0])
    assert notice.message.endswith(f"within {words}")


def test_the_gravest_is_told():
    needed, required = requirement((100, SOON)), requirement((100, NOW), minimum="0.3")
    ask = {"requirements": [needed, required], "now": NOW}
    args = DEVICES[0], str(POOL)
    assert software.judged(*args, "propius 0.1", barred={}, **ask).code == "upgrade_required"
    assert software.judged(*args, "propius 0.2", barred={}, **ask).code == "upgrade_required"
    assert software.judged(*args, "propius 0.3", barred={}, **ask) is None
    barred = {"propius 0.3": "it is broken"}
    found = software.judged(*args, "propius 0.3", barred=barred, **ask)
    assert (found.code, found.message, found.bars) == ("sdk_quarantined", "it is broken", True)
