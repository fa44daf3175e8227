"""Which server and token the commands use: profiles, by name, in one file."""

from __future__ import annotations

import os
import tomllib
from contextvars import ContextVar
from pathlib import Path

from propius.agent.identity import write_private
from propius.calls import FEW
from propius.cli import toml_tables
from propius.cli.words import UsageError
from propius.client import Client

DEFAULT = "default"
CHOSEN: ContextVar[str] = ContextVar("profile", default=DEFAULT)
"""The profile that this call names: ``propius --profile NAME``."""


def config_path() -> Path:
    """Return the file that ``propius login`` writes."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "propius" / "config.toml"


def load() -> dict[str, dict[str, str]]:
    """Return all profiles by name.

    Raises
    ------
    UsageError
        The file is damaged.
    """
    path = config_path()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); mend it, or delete it") from error
    for section, values in found.items():
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise UsageError(f"{path}: [{section}] is no profile; url and token are expected")
    return found


def save(profile: str, url: str, token: str) -> Path:
    """Keep server and token of a profile, for this user's eyes only; the others stay.

    Raises
    ------
    UsageError
        The file is damaged, or TOML has no form for what is to be kept.
    """
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    profiles = load() | {profile: {"url": url, "token": token}}
    write_private(path, toml_tables.encode(profiles))
    return path


def chosen() -> tuple[str, str]:
    """Return address and token: ``PROPIUS_URL`` and ``PROPIUS_TOKEN``, or the profile's.

    Raises
    ------
    UsageError
        Nobody has signed in, there is no such profile, or the file is damaged.
    """
    url, token = os.environ.get("PROPIUS_URL"), os.environ.get("PROPIUS_TOKEN")
    if url and token:
        return url, token
    profiles, wanted = load(), CHOSEN.get()
    if wanted not in profiles and wanted != DEFAULT:
        known = ", ".join(sorted(profiles)) or "there are none"
        raise UsageError(
            f"no profile {wanted!r} (known: {known}); "
            f"run: propius --profile {wanted} login --url URL --token TOKEN"
        )
    found = profiles.get(wanted, {})
    url, token = url or found.get("url"), token or found.get("token")
    if not url or not token:
        raise UsageError(
            "not signed in; run: propius login --url URL --token TOKEN "
            "(or set PROPIUS_URL and PROPIUS_TOKEN)"
        )
    return url, token


def address() -> str:
    """Return the server's address alone: ``PROPIUS_URL``, or the profile's. Raises UsageError."""
    url = os.environ.get("PROPIUS_URL") or load().get(CHOSEN.get(), {}).get("url")
    if not url:
        raise UsageError("which server? Say --url URL, or set PROPIUS_URL")
    return url


def client(*, retries: int = FEW // 2) -> Client:
    """Return a client of the chosen server. Raises :class:`UsageError`, as :func:`chosen`."""
    return Client(*chosen(), retries=retries)
