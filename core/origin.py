"""From where the present request came, for the audit. Empty outside of requests."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks and from which address; either may be unknown."""

    actor: str = ""
    address: str | None = None


_present: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - frozen


def get() -> Origin:
    """Return the origin of the present request."""
    return _present.get()


@contextmanager
def of(*, address: str | None) -> Iterator[None]:
    """Answer a request that came from ``address``."""
    before = _present.set(Origin(address=parsed(address)))
    try:
        yield
    finally:
        _present.reset(before)


def name(actor: str) -> None:
    """Say who the present request turned out to come from."""
    _present.set(Origin(actor=actor, address=get().address))


def parsed(address: str | None) -> str | None:
    """Return the address in its usual spelling, or None if it is none (a unix socket)."""
    try:
        return str(ipaddress.ip_address(address or ""))
    except ValueError:
        return None


def network(address: str | None) -> str:
    """Return what is counted as one sender: an IPv4 address, or the /64 that a host has of IPv6."""
    if address is None:
        return "unknown"
    found = ipaddress.ip_address(address)
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
