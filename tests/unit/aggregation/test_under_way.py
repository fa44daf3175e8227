"""What a process tells of its transfers, by the hand's own sums and clock."""

from __future__ import annotations

from aggregation.under_way import RATE_LOOKS, Told, Transfers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_that_of_the_last_looks_and_not_of_all_time() -> None:
    clock = Clock()
    transfers = Transfers(None, clock=clock)
    with transfers.begin("a", "down", done_bytes=500, size_bytes=10_000) as moving:
        for _ in range(RATE_LOOKS):
            clock.now += 0.5
            moving.reached(moving.done_bytes + 100)
            found, _ = transfers.take()
        assert found == {"a": Told("down", 1300, 10_000, 200.0)}
        for _ in range(RATE_LOOKS):
            clock.now += 0.5
            found, _ = transfers.take()
        assert found == {"a": Told("down", 1300, 10_000, 0.0)}


def test_what_moves_at_once_for_an_assignment_is_one_figure() -> None:
    clock = Clock()
    transfers = Transfers(None, clock=clock)
    program = transfers.begin("a", "down", done_bytes=10, size_bytes=100)
    parameters = transfers.begin("a", "down", done_bytes=0, size_bytes=1000)
    with program, parameters as moving:
        moving.reached(250)
        clock.now += 2
        assert transfers.take()[0] == {"a": Told("down", 260, 1100, 125.0)}
        with transfers.begin("a", "up", done_bytes=3, size_bytes=9):
            assert transfers.take()[0] == {"a": Told("up", 3, 9, 0.0)}


def test_the_end_of_a_transfer_is_told_once_and_only_if_it_was_told_of() -> None:
    transfers = Transfers(None)
    with transfers.begin("untold", "up", done_bytes=0, size_bytes=1):
        pass
    with transfers.begin("a", "up", done_bytes=0, size_bytes=1):
        assert transfers.take()[1] == set()
    assert transfers.take() == ({}, {"a"})
    assert transfers.take() == ({}, set())
