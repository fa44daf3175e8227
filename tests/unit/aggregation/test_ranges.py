"""One range, as RFC 9110 reads it; anything else is the whole."""

import pytest

from aggregation.transfer.downloads import RangeNotSatisfiable, parse_range


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("chunks=0-1", None),
        ("bytes=²-3", None),
    ],
)
def test_it_reads(asked, span):
    assert parse_range(asked, 10) == span


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_past_the_end_is_refused_with_the_size(asked):
    with pytest.raises(RangeNotSatisfiable) as refused:
        parse_range(asked, 10)
    assert refused.value.headers == {"content-range": "bytes */10"}
