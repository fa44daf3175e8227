"""Axes that end at round figures, and readings that name each place once."""

import pytest

from frontend import axes
from frontend.axes import Axis
from frontend.plots import Reading, Row


@pytest.mark.parametrize(
    ("most", "ends"), [(0, (0, 1)), (3, (0, 3)), (85, (0, 100)), (101, (0, 150)), (2e6, (0, 2e6))]
)
def test_an_axis_of_whole_things_ends_at_a_tick(most, ends):
    axis = axes.counting(most, ticks=4)
    assert (axis.low, axis.high) == ends
    assert axis.step >= 1


def test_an_axis_around_one_value_has_room_on_both_sides():
    axis = axes.around(3.0, 3.0, ticks=5)
    assert axis.low < 3.0 < axis.high


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 5e-324), (5e-324, 5e-324), (-1.0226952801802e-109, -1.02e-109), (1, 1)]
)
def test_an_axis_has_ends_and_few_ticks_however_small_what_devices_report(low, high):
    axis = axes.around(low, high, ticks=5)
    assert axis.low <= low <= high <= axis.high
    assert axis.low < axis.high
    assert len(axis.values()) < 20


def test_ticks_lie_between_the_ends_and_count_from_the_top_when_upright():
    axis = Axis(0.0, 50.0, 20.0)
    assert [(one.at, one.text) for one in axis.across(axes.figure)] == [
        (0, "0"), (40, "20"), (80, "40"),
    ]  # fmt: skip
    assert [one.at for one in axis.upwards(axes.figure)] == [100, 60, 20]


def test_a_reading_has_each_place_once_and_series_name_it_by_number():
    rows = [
        Row("training", "train", [(1.0, "0.9"), (3.0, "0.7")]),
        Row("evaluation", "evaluate", [(2.0, "0.8"), (3.0, "0.6")]),
    ]
    data = Reading((0.0, 5.0), {3.0: "Round 3", 1.0: "Round 1", 2.0: "Round 2"}, rows).data
    assert data["stops"] == [[1.0, "Round 1"], [2.0, "Round 2"], [3.0, "Round 3"]]
    assert [(row["label"], row["points"]) for row in data["rows"]] == [
        ("Training", [[0, "0.9"], [2, "0.7"]]),
        ("Evaluation", [[1, "0.8"], [2, "0.6"]]),
    ]
