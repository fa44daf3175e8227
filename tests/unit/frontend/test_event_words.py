"""Events in words."""

import pytest

from frontend import event_words


@pytest.mark.parametrize(("count", "some"), [(1, "1 update"), (3, "3 updates")])
def test_outliers_are_told_by_their_number(count, some):
    told = event_words.sentence(
        "round.outliers", {"count": count}, which="Round 2", count=1, is_open=False
    )
    assert told == (
        "wait", f"Round 2: {some} moved the model far more than the others, or far less."
    )  # fmt: skip
    assert "round.outliers" in event_words.LOGS["rounds"][1]
