"""Conditions on attributes."""

from __future__ import annotations

from typing import Any

import pytest

from propius import constraints


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (2, 2, True),
        (2, 1.99, False),
        ({"min": 1, "max": 3}, 3, True),
        ({"max": 3}, 3.01, False),
        ({"in": ["linux", "android"]}, "linux", True),
        ({"in": ["linux"]}, "Linux", False),
        ({"in": [1]}, 1.0, True),
        ({"in": [1]}, True, False),
        ({"in": [True]}, 1, False),
        (2, None, False),
        (2, "3", False),
        (0, True, False),
        (0, float("nan"), False),
    ],
)
def test_a_condition_admits_what_it_should(condition: Any, value: Any, expected: bool) -> None:
    parsed = constraints.parse({"x": condition})
    assert constraints.matches(parsed, {"x": value}) is expected


def test_no_conditions_admit_every_device() -> None:
    assert constraints.matches(constraints.parse({}), {})


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        ({"x": "3"}, "x", "no condition"),
        ({"x": True}, "x", "no condition"),
        ({"x": {}}, "x", "min, max and in"),
        ({"x": {"least": 1}}, "x", "least"),
        ({"x": {"min": None}}, "x", "not a finite number"),
        ({"x": {"min": float("inf")}}, "x", "not a finite number"),
        ({"x": {"min": 3, "max": 2}}, "x", "above"),
        ({"x": {"in": [1], "min": 1}}, "x", "combined"),
        ({"x": {"in": "linux"}}, "x", "list"),
        ({"x": {"in": []}}, "x", "list"),
        ({"x": {"in": [None]}}, "x", "None"),
        ([1], "", "object"),
        ({str(n): 1 for n in range(33)}, "", "at most 32"),
    ],
)
def test_a_fault_names_the_attribute(raw: Any, field: str, words: str) -> None:
    with pytest.raises(constraints.ConstraintError) as caught:
        constraints.parse(raw)
    assert caught.value.field == field
    assert words in str(caught.value)


def test_the_normal_form_is_stable() -> None:
    raw = {"b": 1, "a": {"in": ["x", 1]}, "c": {"max": 2, "min": 1}}
    once = constraints.as_json(constraints.parse(raw))
    assert list(once) == ["a", "b", "c"]
    assert once["c"] == {"min": 1.0, "max": 2.0}
    assert constraints.as_json(constraints.parse(once)) == once
