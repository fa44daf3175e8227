"""One POST to an address that a tenant chose, which must not reach into our own network."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

TIMEOUT_S = 5.0
WHOLE_S = 15.0
"""A receiver that drips its answer byte by byte is within every other limit for hours."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that was ever handed out; outside are IPv4's old disguises, sites, links and groups."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressForbidden(Exception):
    """The address leads into a private network."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the receiver said; ``status`` None: nothing, and ``error`` says why."""

    status: int | None
    error: str = ""

    @property
    def taken(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> Outcome:
    """Send once, following no redirect; ``private`` allows addresses of private networks."""
    transport = httpx.HTTPTransport(retries=0)
    # The pool resolves names itself: checked before, a name could lead elsewhere by then.
    transport._pool = httpcore.ConnectionPool(network_backend=_Guarded(private))
    try:
        with (
            httpx.Client(transport=transport, timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=dict(headers)) as answer,
        ):
            return Outcome(answer.status_code)
    except AddressForbidden as error:
        return Outcome(None, str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Outcome(None, f"{type(error).__name__}: {error}"[:200])


def faults(url: str, *, private: bool) -> str:
    """Return what is wrong with an address that somebody enters; empty if nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{url!r}: {error}"
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        return f"{url!r}; an address as in https://example.org/hooks is allowed"
    if parts.username or parts.password:
        return "an address with a password in it is not allowed; check the signature instead"
    if parts.scheme == "http" and not private:
        return f"{url!r}; only https is allowed"
    return ""


def is_public(address: str) -> bool:
    """Whether an address is one host's in the public network, also where it wraps another."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv4Address):
        return found.is_global and not found.is_multicast
    if found in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)))
    # Teredo's prefix is none that is_global lets through.
    inside = found.sixtofour
    return found in _UNICAST and found.is_global and (inside is None or is_public(str(inside)))


class _Guarded(httpcore.SyncBackend):
    """Connects only to addresses that are not of a private network."""

    def __init__(self, private: bool) -> None:
        self._private = private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, and connect to what was checked."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # no such name, or one that cannot be
            raise httpcore.ConnectError(f"{host}: {error}") from error
        address = str(found[0][4][0])
        if not self._private and not is_public(address):
            raise AddressForbidden(f"{host} leads into a private network ({address})")
        stream = super().connect_tcp(address, port, timeout, local_address, socket_options)
        return _Hurried(stream, time.monotonic() + WHOLE_S)


class _Hurried(httpcore.NetworkStream):
    """A stream on which nothing is read after a moment."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout(f"no whole answer within {WHOLE_S:g} s")
        return self._stream.read(max_bytes, left if timeout is None else min(left, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Hurried(stream, self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
