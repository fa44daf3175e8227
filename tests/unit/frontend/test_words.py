"""Figures in words."""

import pytest

from frontend import words


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((1_200_000, 98_000_000, 3_400_000), "1.2 of 98.0 MB at 3.4 MB/s"),
        ((90_000, 1_500_000_000, 999), "0.0 of 1.5 GB at 999 B/s"),
        ((7, 640, 0.0), "7 of 640 B at 0 B/s"),
    ],
)
def test_a_transfer_is_told_in_the_unit_of_the_whole(given, said):
    assert words.transfer(*given) == said


@pytest.mark.parametrize(
    ("number_bytes", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e12, "2.5 TB"), (4e15, "4000.0 TB")],
)
def test_sizes_are_in_decimal_units(number_bytes, said):
    assert words.size(number_bytes) == said
