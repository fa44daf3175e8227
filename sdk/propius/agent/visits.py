"""Exchanges of one-shot mode: words to the gateway in one signed request, its answers back."""

from __future__ import annotations

import hashlib

import httpx

from propius import wire
from propius.agent.connection import AgentStopped, Counter, Unreachable
from propius.agent.introduction import Introduction

NONCE_HEADER = "Propius-Nonce"
TRIES = 3


class Visits:
    """Visits of one device; every answer brings the nonce of the next.

    Parameters
    ----------
    gateway
        The websocket's address; visits go to the same place by HTTP.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        gateway: str,
        introduction: Introduction,
        counter: Counter | None = None,
    ) -> None:
        self.client = client
        self._url = url_of(gateway)
        self._introduction = introduction
        self._counter = counter
        self._nonce = ""

    async def challenge(self) -> wire.Challenge:
        """Ask for a first nonce. Raises as :meth:`say`."""
        messages = await self._request("GET", b"")
        if len(messages) != 1 or not isinstance(first := messages[0], wire.Challenge):
            raise _no_gateway(self._url, "something else than a challenge")
        self._nonce = first.nonce
        return first

    async def say(self, *words: wire.Message) -> list[wire.FromGateway]:
        """Say who this is and then ``words``; return the answers, the welcome first.

        Raises
        ------
        Unreachable
            No answer now; trying again makes sense.
        AgentStopped
            Trying again cannot help: there is no gateway at this address.
        """
        for _ in range(TRIES):
            if not self._nonce:
                await self.challenge()
            said = "\n".join(map(wire.encode, words)).encode()
            hello = self._introduction.hello(f"{self._nonce} {hashlib.sha256(said).hexdigest()}")
            body = wire.encode(hello).encode() + (b"\n" + said if words else b"")
            used, self._nonce = self._nonce, ""
            messages = await self._request("POST", body, {NONCE_HEADER: used})
            if messages and isinstance(last := messages[-1], wire.Challenge):
                self._nonce = last.nonce
                messages.pop()
            if not any(_is_stale(one) for one in messages):
                return messages
        raise Unreachable(f"{self._url} takes none of its own nonces")

    async def _request(
        self, method: str, body: bytes, headers: dict[str, str] | None = None
    ) -> list[wire.FromGateway]:
        try:
            answer = await self.client.request(method, self._url, content=body, headers=headers)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise AgentStopped("bad_url", f"{self._url!r} is no gateway's address") from error
        except httpx.HTTPError as error:
            raise unreachable(self._url, error) from error
        if self._counter is not None:
            self._counter.sent(len(body))
            self._counter.received(len(answer.content))
        if "ndjson" not in answer.headers.get("content-type", ""):
            if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
                raise Unreachable(f"{self._url} answers {answer.status_code}")
            raise _no_gateway(self._url, str(answer.status_code))
        return [wire.decode_from_gateway(line) for line in answer.content.splitlines() if line]


def url_of(gateway: str) -> str:
    """Return the address for HTTP beside a websocket's.

    Examples
    --------
    >>> url_of("wss://gateway.example.org/device/v1")
    'https://gateway.example.org/device/v1'
    """
    scheme, separator, rest = gateway.partition("://")
    return {"ws": "http", "wss": "https"}.get(scheme, scheme) + separator + rest


def unreachable(url: str, error: httpx.HTTPError) -> AgentStopped | Unreachable:
    """Tell what only a person can mend from what passes."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return AgentStopped(
            "certificate",
            f"the certificate of {url} is not trusted ({text}); check the address and this "
            "device's clock, or enrol with --ca FILE of your authority",
        )
    return Unreachable(f"{url} cannot be reached: {text}")


def _is_stale(message: wire.FromGateway) -> bool:
    return isinstance(message, wire.Refused) and message.code == "stale_nonce"


def _no_gateway(url: str, found: str) -> AgentStopped:
    return AgentStopped(
        "no_gateway",
        f"{url} answers {found}, not as a Propius gateway; check the server's URL and enrol "
        "again: propius device enrol --url URL --token TOKEN",
    )
