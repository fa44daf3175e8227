"""Which idle devices are woken when demand opens."""

from dataclasses import dataclass, field

from gateway.events import Event
from gateway.idle import UNTRIED, IdlePool


@dataclass(eq=False)
class Device:
    """A listener that notes who was woken, in order."""

    name: str
    signature: str
    woken: list[str] = field(repr=False)
    pushed: bool = False

    def feed(self, event: Event) -> None:
        self.woken.append(self.name)


def _pool(woken: list[str], *names: str) -> IdlePool:
    """Park devices whose signature is their name without its number."""
    pool = IdlePool()
    for name in names:
        pool.park(Device(name, name.rstrip("0123456789"), woken), UNTRIED)  # type: ignore[arg-type]
    return pool


def test_signatures_that_share_demand_take_turns() -> None:
    woken: list[str] = []
    pool = _pool(woken, "a1", "a2", "a3", "b1", "b2", "c1")
    pool.plan(version=1, epoch="e", open_slots={"a": 2, "b": 2, "c": 2})
    assert woken == ["a1", "b1", "c1", "a2", "b2"]


def test_no_more_are_woken_than_slots_are_open() -> None:
    woken: list[str] = []
    pool = _pool(woken, "a1", "a2", "a3")
    pool.plan(version=1, epoch="e", open_slots={"a": 1, "b": 5})
    assert woken == ["a1"]
    assert pool.counts() == {"a": 2}


def test_a_plan_wakes_a_device_once_and_then_the_next() -> None:
    woken: list[str] = []
    pool = _pool(woken, "a1", "a2")
    first = Device("a0", "a", woken)
    pool.plan(version=1, epoch="e", open_slots={"a": 1})
    pool.park(first, 1)  # type: ignore[arg-type]
    assert woken == ["a1"]
    again = Device("a1", "a", woken, pushed=True)
    pool.park(again, 1)  # type: ignore[arg-type]
    assert woken == ["a1", "a2"]


def test_a_signature_reaches_the_slots_of_all_its_groups_and_no_others() -> None:
    woken: list[str] = []
    pool = _pool(woken, "a+b1", "a+b2", "a+b3", "a+b4", "c1")
    pool.plan(version=1, epoch="e", open_slots={"a": 1, "b": 2, "d": 5})
    assert woken == ["a+b1", "a+b2", "a+b3"]
    pool.park(Device("a+b5", "a+b", woken), UNTRIED)  # type: ignore[arg-type]
    assert woken[3:] == ["a+b4"]
