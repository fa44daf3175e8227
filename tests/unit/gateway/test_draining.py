"""When the devices of a gateway that ends are told to come back."""

from gateway.draining import turns


def test_few_devices_come_back_at_once() -> None:
    first_s, last_s = turns(10, 90, lease_s=10)
    assert (round(first_s, 6), round(last_s, 6)) == (1.1, 2.0)


def test_those_at_work_come_first_and_while_half_of_their_lease_is_left() -> None:
    first_s, last_s = turns(5_000, 15_000, lease_s=10)
    assert (first_s, last_s) == (6.0, 156.0)
