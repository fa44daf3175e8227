"""Which server and token the commands use."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

from propius.agent.identity import write_private
from propius.cli.words import UserError
from propius.client import Client


def config_path() -> Path:
    """Return the file that ``propius login`` writes."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "propius" / "config.toml"


def save(url: str, token: str) -> Path:
    """Keep server and token, for this user's eyes only."""
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # JSON strings are TOML strings.
    text = f"[default]\nurl = {json.dumps(url)}\ntoken = {json.dumps(token)}\n"
    write_private(path, text.encode())
    return path


def client() -> Client:
    """Return a client for ``PROPIUS_URL`` and ``PROPIUS_TOKEN``, or for the last login.

    Raises
    ------
    UserError
        Nobody has signed in, or the file is damaged.
    """
    path, found = config_path(), {}
    if path.exists():
        try:
            found = tomllib.loads(path.read_text())["default"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} cannot be read ({error}); run propius login again") from error
    url = os.environ.get("PROPIUS_URL") or found.get("url")
    token = os.environ.get("PROPIUS_TOKEN") or found.get("token")
    if not url or not token:
        raise UserError(
            "not signed in; run: propius login --url URL --token TOKEN "
            "(or set PROPIUS_URL and PROPIUS_TOKEN)"
        )
    return Client(url, token)
