"""When a job likely ends, by the pace of its last rounds."""

from datetime import UTC, datetime, timedelta

from frontend import pace

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


def every(minutes, count):
    """``count`` rounds that ended ``minutes`` after each other, the last one a minute ago."""
    return [NOW - timedelta(minutes=1 + minutes * back) for back in reversed(range(count))]


def estimate(finished, left=6, is_running=True):
    return pace.estimate(finished, left=left, is_running=is_running, now=NOW)


def test_it_goes_on_as_in_the_last_rounds():
    found = estimate(every(10, 4))
    assert found.at == NOW + timedelta(minutes=59)
    assert found.text == "by the pace of its last 4 rounds"


def test_only_the_last_rounds_count():
    slow = [NOW - timedelta(days=2)]
    assert estimate(slow + every(10, 10)) == estimate(every(10, 10))


def test_a_round_that_takes_longer_moves_the_end_by_whole_minutes():
    finished = [one - timedelta(minutes=11, seconds=20) for one in every(10, 4)]
    assert estimate(finished).at == finished[-1] + timedelta(minutes=60) + timedelta(minutes=3)


def test_it_tells_nothing_that_it_cannot_know():
    assert estimate(every(10, 2)).at is None
    assert "3 rounds have to be done first" in estimate(every(10, 2)).text
    stuck = estimate([one - timedelta(hours=2) for one in every(10, 4)])
    assert stuck.at is None
    assert "takes much longer" in stuck.text
    assert estimate(every(10, 4), is_running=False) == pace.Estimate(None, "")
