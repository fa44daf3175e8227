"""Checks everything that a device needs, and says the fix for each thing that fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import stat
import sys
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from propius import __version__, http_errors, wire
from propius.agent import attributes, conditions, control, device, identity, network
from propius.agent import connection as line
from propius.agent.connection import AgentStopped, Unreachable
from propius.agent.datasets import DatasetError
from propius.agent.device import Device
from propius.agent.identity import Home, IdentityError
from propius.agent.meter import Meter, SystemMeter
from propius.agent.owner_files import OwnerFileError

TIMEOUT_S = 10.0
CLOCK_S = 120.0
DISK_MB = 512
PYTHONS = (3, 11), (3, 14)
"""The oldest and the newest that the SDK is made for."""
ENROL = "enrol the device again: propius device enrol --url URL --token TOKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``fix`` is empty where there is nothing to mend."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def examine(home: Home, *, meter: Meter | None = None) -> list[Finding]:
    """Run all checks; never raises, and disturbs no running agent."""
    findings = [_python()]
    try:
        one = device.load(home.path)
        identity.load_key(home)
        trust = network.trust(home)
    except (IdentityError, OwnerFileError) as error:
        return [*findings, Finding("identity", False, str(error), "as it says; see docs/device.md")]
    findings.append(Finding("identity", True, f"device {one.enrolment.device}, key readable"))
    findings += [_permissions(home), _disk(home), _consent(one), _attributes(one)]
    findings += _datasets(one)
    findings += [*server(one.enrolment.url, trust=trust), _gateway(one, trust)]
    findings.append(_conditions(one, meter or SystemMeter(home.path)))
    return findings


def _python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    python = ".".join(map(str, version))
    found = f"propius-sdk {__version__}, protocol {wire.PROTOCOL}, Python {python}"
    if PYTHONS[0] <= version <= PYTHONS[1]:
        return Finding("version", True, found)
    oldest, newest = (".".join(map(str, one)) for one in PYTHONS)
    fix = f"install it with Python {oldest} to {newest}: python{newest} -m pip install propius-sdk"
    return Finding("version", False, found, fix)


def _permissions(home: Home) -> Finding:
    if os.name != "posix":
        return Finding("permissions", True, "not checked on this system")
    wrong = [
        path for path in (home.path, home / "device.key", home / "device.json")
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o022
    ]  # fmt: skip
    if wrong:
        names = " ".join(map(str, wrong))
        return Finding("permissions", False, f"others may write {names}", f"chmod go-w {names}")
    return Finding("permissions", True, "only the owner may write the folder and the key")


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.path).free >> 20
    found = f"{free} MB free in {home.path}"
    fix = f"free some disk, or move the device's folder; {DISK_MB} MB are needed"
    return Finding("disk", free >= DISK_MB, found, "" if free >= DISK_MB else fix)


def _consent(one: Device) -> Finding:
    granted = [one.consent.file.pool, *one.consent.file.tenants.values()]
    if any(grant.kinds and grant.datasets for grant in granted):
        return Finding("consent", True, "; ".join(one.consent.words()))
    return Finding("consent", False, "nobody may run anything", "grant something in consent.toml")


def _attributes(one: Device) -> Finding:
    try:
        told = attributes.collect(one.home, one.enrolment.attributes_schema)
    except OwnerFileError as error:
        return Finding("attributes", False, str(error), "correct attributes.toml")
    return Finding("attributes", True, ", ".join(f"{key} {told[key]}" for key in sorted(told)))


def _datasets(one: Device) -> list[Finding]:
    if not one.datasets.names():
        fix = f"name your data in {one.home / 'datasets.toml'}"
        return [Finding("datasets", False, "there is no data set", fix)]
    asyncio.run(one.datasets.refresh())
    return [_dataset(one, name) for name in one.datasets.names()]


def _dataset(one: Device, name: str) -> Finding:
    try:
        found = one.datasets.describe(name)
    except DatasetError as error:
        return Finding(f"dataset {name}", False, str(error), "correct the file or datasets.toml")
    schema = ", ".join(
        f"{key} {info.dtype} {info.shape}" + (f" of {info.classes} classes" if info.classes else "")
        for key, info in sorted(found.schema.items())
    )
    return Finding(f"dataset {name}", True, f"{found.attributes['examples']} examples; {schema}")


def server(url: str, again: str = ENROL, *, trust: ssl.SSLContext | None = None) -> list[Finding]:
    """Check name, network, TLS and clock by one request.

    ``again`` mends a wrong address; ``trust`` has the owner's authority in place of the system's.
    """
    asked_for = urlsplit(url)
    host = asked_for.hostname
    if not host or asked_for.scheme not in ("http", "https"):
        words = f"{url!r} is no address; it starts with http:// or https://"
        return [Finding("network", False, words, again)]
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        fix = "check the network and its name server, or the address of the platform"
        return [Finding("network", False, f"{host} has no address here: {error}", fix)]
    asked = time.time()
    try:
        answer = httpx.get(
            f"{url}/healthz", timeout=TIMEOUT_S, verify=trust or network.context(None)
        )
    except httpx.HTTPError as error:
        fix = "check the network, a proxy (HTTPS_PROXY) and the address of the platform"
        if "CERTIFICATE" in str(error).upper():
            fix = http_errors.UNTRUSTED_FIX
        return [Finding("network", False, f"{url} cannot be reached: {error}", fix)]
    middle = (asked + time.time()) / 2
    reached = Finding("network", True, f"{url} answers")
    if answer.status_code != 200:
        reached = Finding(
            "network", False, f"{url} answers {answer.status_code}",
            "is this a Propius server? If so, try again later, else " + again,
        )  # fmt: skip
    return [reached, _clock(answer.headers.get("date", ""), middle)]


def _clock(date: str, now: float) -> Finding:
    try:
        off = now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding("clock", True, "the server does not tell its time: not checked")
    if abs(off) <= CLOCK_S:
        return Finding("clock", True, f"within {max(2, abs(off)):.0f} s of the server's")
    way = "fast" if off > 0 else "slow"
    fix = "set the clock, best by time synchronisation: timedatectl set-ntp true"
    return Finding("clock", False, f"{abs(off):.0f} s {way}, compared with the server", fix)


def _gateway(one: Device, trust: ssl.SSLContext | None) -> Finding:
    """Listen for the gateway's first word only: a hello would end the running agent's session."""
    try:
        spoken = asyncio.run(_challenge(one.enrolment.gateway, trust))
    except AgentStopped as error:
        return Finding("gateway", False, str(error), ENROL)
    except (Unreachable, OSError, wire.ProtocolError, TimeoutError) as error:
        return Finding(
            "gateway", False, f"{one.enrolment.gateway}: {error or 'it says nothing'}",
            "check that websockets pass the network; the server may be starting: try again",
        )  # fmt: skip
    if wire.PROTOCOL not in spoken:
        found = f"the gateway speaks protocol {spoken}, this SDK {wire.PROTOCOL}"
        return Finding("gateway", False, found, "pip install --upgrade propius-sdk")
    return Finding("gateway", True, f"{one.enrolment.gateway} speaks protocol {wire.PROTOCOL}")


async def _challenge(url: str, trust: ssl.SSLContext | None) -> list[int]:
    socket_ = await line.open_socket(url, trust)
    async with socket_, asyncio.timeout(TIMEOUT_S):
        frame = await socket_.recv(decode=True)
        message = wire.decode_from_gateway(frame)
        return message.protocols if isinstance(message, wire.Challenge) else []


def _conditions(one: Device, meter: Meter) -> Finding:
    if control.is_paused(one.home):
        return Finding("conditions", False, "paused by its owner", "propius device resume")
    meter.read()  # the load is told between two readings
    time.sleep(0.2)
    found = conditions.unmet(one.conditions, meter.read())
    if found:
        words = "; ".join(reason.words for reason in found)
        return Finding("conditions", False, words, "wait until they hold, or edit conditions.toml")
    return Finding("conditions", True, "all hold now")
