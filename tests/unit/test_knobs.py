"""A knob that cannot be used stops the process, with its name, its value and what is allowed."""

import pytest

from core import knobs


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PROPIUS_LEASE_S", "soon", "'soon': a float above 0 is allowed"),
        ("PROPIUS_LEASE_S", "nan", "'nan': a float above 0 is allowed"),
        ("PROPIUS_BIND_BATCH", "0", "'0': a int above 0 is allowed"),
        ("PROPIUS_ADMISSION", "maybe", "'maybe': allowed are queue, refuse"),
        ("PROPIUS_ASSIGNMENT_DAYS", "31", "'31': a float from 32 to 36500 is allowed"),
        ("PROPIUS_ASSIGNMENT_DAYS", "1e6", "'1e6': a float from 32 to 36500 is allowed"),
    ],
)
def test_it_is_told_what_is_allowed(name, value, told):
    with pytest.raises(knobs.BadKnob) as error:
        knobs.read({name: value})
    assert str(error.value) == f"{name}={told}"


def test_what_is_set_counts_and_all_else_is_as_it_was():
    found = knobs.read({"PROPIUS_LEASE_S": "7.5", "HOME": "/"})
    assert found == knobs.Knobs(lease_s=7.5)
