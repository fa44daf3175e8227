"""A device's folder, its Ed25519 key and its enrolment.

====================  ======================================================================
``device.key``        private key, made on the device, mode 0600; never leaves it
``device.json``       what the enrolment answered
``consent.toml``      who may use what; see :mod:`propius.agent.consent`
``datasets.toml``     data sets by name; see :mod:`propius.agent.datasets`
``handlers.toml``     Python functions by name; see :mod:`propius.agent.workloads`
``attributes.toml``   labels and corrections to what is measured
``spool/``            finished updates that wait to be sent
``partial/``          half-done downloads
``cache/``            downloads by digest
====================  ======================================================================
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class IdentityError(ValueError):
    """A device folder that cannot be used; the text says what to do."""


class AttributeSchema(msgspec.Struct, frozen=True, kw_only=True):
    """One public attribute that the platform knows; ``type`` is number, string or boolean."""

    name: str
    type: str
    unit: str = ""
    description: str = ""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform answered at enrolment, and where."""

    device: str
    gateway: str
    pool: str
    pool_tenants: list[str]
    data: str = ""
    url: str = ""
    attributes_schema: list[AttributeSchema] = []


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside a device's folder."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def prepare(self) -> None:
        """Make the folders, for the owner's eyes only."""
        for folder in (self.path, self / "spool", self / "partial", self / "cache"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def default_home() -> Path:
    """Return the folder used without ``--home``."""
    if "PROPIUS_DEVICE_HOME" in os.environ:
        return Path(os.environ["PROPIUS_DEVICE_HOME"])
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "propius" / "device"


def make_key(home: Home) -> Ed25519PrivateKey:
    """Return the device's key, made now if there is none."""
    path = home / "device.key"
    if path.exists():
        return load_key(home)
    home.prepare()
    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes_raw().hex().encode())
    return key


def load_key(home: Home) -> Ed25519PrivateKey:
    """Read the device's key.

    Raises
    ------
    IdentityError
        There is none, or it is damaged, or others may read it.
    """
    path = home / "device.key"
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except FileNotFoundError as error:
        raise IdentityError(
            f"no device in {home.path}; enrol it first: propius device enrol --url URL "
            f"--token TOKEN --home {home.path}"
        ) from error
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise IdentityError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise IdentityError(f"{path} is damaged; delete it and enrol the device again") from error


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the public half in hex."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def load_enrolment(home: Home) -> Enrolment:
    """Read what the enrolment answered. Raises :class:`IdentityError` if there is none."""
    path = home / "device.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Enrolment)
    except FileNotFoundError as error:
        raise IdentityError(
            f"the device in {home.path} is not enrolled; run: propius device enrol --url URL "
            f"--token TOKEN --home {home.path}"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise IdentityError(f"{path} cannot be read ({error}); enrol the device again") from error


def save_enrolment(home: Home, enrolment: Enrolment) -> None:
    """Write the enrolment; a crash leaves the old one whole."""
    home.prepare()
    encoded = msgspec.json.format(msgspec.json.encode(enrolment), indent=2)
    write_private(home / "device.json", encoded + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, mode 0600, durable before it returns."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
