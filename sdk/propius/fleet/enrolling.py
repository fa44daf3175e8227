"""Lets a fleet join: keys follow from the seed, so that a rerun is the same devices again.

What the platform answered is kept in a file, and such a rerun asks it nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from propius import __version__
from propius.agent.identity import AttributeSchema, Enrolment, public_hex, write_private
from propius.http_errors import error_of, unreachable

AT_ONCE = 8
TIMEOUT_S = 30.0
LONGEST_WAIT_S = 120.0


class Known(msgspec.Struct, kw_only=True):
    """The file: what all devices have in common, and their ids by number."""

    gateway: str = ""
    attributes_schema: list[AttributeSchema] = []
    devices: dict[int, str] = {}


def key_of(seed: int, number: int) -> Ed25519PrivateKey:
    """Return the key of a virtual device.

    Anybody who knows the seed has it: such devices belong in pools of their own.
    """
    material = hashlib.sha256(f"propius fleet {seed} {number}".encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(material)


def default_file(url: str, token: str, seed: int) -> Path:
    """Return where the answers of this platform, pool and seed are kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    # By token: another pool's devices are others. Hashed, it tells nothing.
    name = hashlib.sha256(f"{url} {token} {seed}".encode()).hexdigest()[:16]
    return base / "propius" / "fleets" / f"{name}.json"


class Enroller:
    """Enrols virtual devices; those that are known already come first.

    Parameters
    ----------
    told
        Called with a line for people, when the platform makes the fleet wait.
    """

    def __init__(
        self, url: str, token: str, *, seed: int, file: Path, told: Callable[[str], None]
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._seed = seed
        self._file = file
        self._told = told
        self._waits: asyncio.Task[None] | None = None
        self.known = _read(file)

    async def devices(self, count: int) -> AsyncIterator[int]:
        """Yield the numbers of devices, 0 to ``count``, each once it has joined.

        Raises
        ------
        ApiError
            The platform cannot be reached, or does not take the token.
        """
        for number in range(count):
            if number in self.known.devices:
                yield number
        missing = [number for number in range(count) if number not in self.known.devices]
        if not missing:
            return
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                for first in range(0, len(missing), AT_ONCE):
                    part = missing[first : first + AT_ONCE]
                    await asyncio.gather(*(self._enrol(client, number) for number in part))
                    for number in part:
                        yield number
        finally:
            self._save()

    async def _enrol(self, client: httpx.AsyncClient, number: int) -> None:
        body = {
            "token": self._token,
            "public_key": public_hex(key_of(self._seed, number)),
            "sdk": f"propius-python/{__version__} fleet",
            "name": f"virtual-{self._seed}-{number}",
            "attributes": {},
        }
        while True:
            try:
                answer = await client.post(f"{self._url}/api/v1/devices/enrol", json=body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise unreachable(self._url, error) from error
            if answer.status_code != 429:
                break
            await self._wait(answer)
        if answer.status_code not in (200, 201):
            raise error_of(answer)
        one = msgspec.json.decode(answer.content, type=Enrolment)
        self.known.gateway = one.gateway
        self.known.attributes_schema = one.attributes_schema
        self.known.devices[number] = one.device

    async def _wait(self, answer: httpx.Response) -> None:
        """Wait as long as the platform says, once for all that ask at the same time."""
        if self._waits is None or self._waits.done():
            said = answer.headers.get("retry-after", "")
            wait_s = min(LONGEST_WAIT_S, float(said) if said.isdigit() else 5.0)
            self._told(
                f"{len(self.known.devices)} devices have joined; the platform lets more of them "
                f"join in {wait_s:.0f} s (PROPIUS_ENROLMENTS_PER_MINUTE)"
            )
            self._waits = asyncio.create_task(asyncio.sleep(wait_s))
        await asyncio.shield(self._waits)

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._file, msgspec.json.encode(self.known))


def _read(file: Path) -> Known:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Known)
    except (FileNotFoundError, msgspec.DecodeError):
        return Known()
