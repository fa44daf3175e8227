"""Hampel's rule, by hand."""

import pytest

from aggregation import outliers

SOUND = [4.0, 5.0, 6.0, 5.0, 4.0, 6.0, 5.0]


@pytest.mark.parametrize(
    ("norms", "found"),
    [
        # Median 5, MAD 1 (deviations 0 0 0 1 1 1 1 x): beyond 6 · 1.4826 = 8.8956 from 5.
        ([*SOUND, 13.8], []),
        ([*SOUND, 14.0], [7]),
        # Too short is told as too long is: median 50, MAD 5, beyond 44.478 from 50.
        ([5.5, 50.0, 45.0, 55.0, 50.0, 45.0, 55.0, 50.0, 56.0], [0]),
        # MAD 0: the floor is a hundredth of the median, so beyond 0.6 from 10.
        ([10.0] * 7 + [10.5], []),
        ([10.0] * 7 + [10.7], [7]),
        # Three of nine, and still none of the six.
        ([*SOUND[:6], 500.0, 600.0, 700.0], [6, 7, 8]),
        ([0.0] * 7 + [3.0], []),
        ([*SOUND[:6], 500.0], []),
        ([], []),
    ],
)
def test_it_finds_what_is_six_deviations_from_the_median(norms, found):
    assert outliers.among(norms) == found
