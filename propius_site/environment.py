"""Reading the environment for settings.py: each problem names the variable and the fix."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from propius_site.embedded import paths

KEY_CHARS = 50
"""What `manage.py check --deploy` asks of a secret key."""
ROLES = ("app", "system", "owner")
DEVELOPMENT_SECRET = "development-only-never-in-production"
SECRET_CHARS = 32


def choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r}: allowed are {', '.join(allowed)}.")
    return value


def port(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name, str(default))
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise ImproperlyConfigured(f"{name}={value!r}: a port is a number from 1 to 65535.")
    return int(value)


def path_prefix(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").rstrip("/")
    if value and (not value.startswith("/") or any(one in value for one in " \r\n?#")):
        raise ImproperlyConfigured(f"{name}={value!r}: a path as in /propius-blobs is allowed.")
    return value


def secrets(env: Mapping[str, str], name: str) -> list[str]:
    """Return secrets that are being replaced, parted by blanks."""
    found = env.get(name, "").split()
    for one in found:
        if len(one) < SECRET_CHARS:
            raise ImproperlyConfigured(
                f"{name}: {len(one)} characters in one of its secrets; each is a PROPIUS_SECRET_KEY"
                f" of before, of at least {SECRET_CHARS}, and blanks stand between them."
            )
    return found


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_production(env: Mapping[str, str]) -> None:
    """Stop a production start that would be unsafe, with every fix in one message.

    Raises
    ------
    ImproperlyConfigured
        If a server's URL, the secret or the public URL is missing or unsafe.
    """
    problems = []
    for name, example in (
        ("DATABASE_URL", "postgresql://owner:password@db:5432/propius"),
        ("REDIS_URL", "redis://redis:6379/0"),
    ):
        if not env.get(name):
            problems.append(f"{name} is not set: set it, as in {name}={example}")
    secret = env.get("PROPIUS_SECRET_KEY", "")
    if len(secret) < KEY_CHARS or secret == DEVELOPMENT_SECRET:
        problems.append(
            f"PROPIUS_SECRET_KEY is missing, the default or shorter than {KEY_CHARS} characters: "
            "set it to the output of `python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
        )
    problems += _public_url_problems(env.get("PROPIUS_PUBLIC_URL", ""))
    if problems:
        raise ImproperlyConfigured(
            "PROPIUS_ENV=production cannot start:\n  - " + "\n  - ".join(problems)
        )


def _public_url_problems(url: str) -> list[str]:
    parts = urlsplit(url)
    if not url or parts.scheme not in ("http", "https") or not parts.hostname:
        return [
            f"PROPIUS_PUBLIC_URL={url!r} is no URL: set it to where people reach the site, "
            "as in https://propius.example.org"
        ]
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return [
            f"PROPIUS_PUBLIC_URL={url!r} would send passwords and tokens in clear text: "
            "put TLS in front and use https://"
        ]
    return []


def database(env: Mapping[str, str], home: Path, role: str) -> dict[str, Any]:
    """Return Django's connection settings to work as the Postgres role ``propius_<role>``."""
    options: dict[str, Any] = {"connect_timeout": 5}
    own_login = env.get(f"PROPIUS_DATABASE_URL_{role.upper()}")
    url = own_login or env.get("DATABASE_URL")
    if not url:
        where = paths.for_home(home)
        return {
            "NAME": paths.DATABASE,
            "USER": f"propius_{role}",
            "HOST": str(where.sockets),
            "PORT": str(paths.POSTGRES_PORT),
            "OPTIONS": options,
        }
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured(
            f"DATABASE_URL begins with {parts.scheme!r}: Propius needs postgresql://… "
            "(15 or later); there is no SQLite mode."
        )
    options |= dict(parse_qsl(parts.query))
    host = options.pop("host", None) or unquote(parts.hostname or "")
    if not own_login:
        # One login, three roles: the session starts as the role, RESET ROLE included.
        options["options"] = f"{options.get('options', '')} -c role=propius_{role}".strip()
    return {
        "NAME": unquote(parts.path.lstrip("/")) or paths.DATABASE,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


def redis_url(env: Mapping[str, str], home: Path) -> str:
    return env.get("REDIS_URL") or f"unix://{paths.for_home(home).valkey_socket}"


def broker_url(url: str) -> str:
    """Celery spells a unix socket differently from redis-py."""
    return "redis+socket" + url.removeprefix("unix") if url.startswith("unix://") else url


def home(env: Mapping[str, str], base: Path) -> Path:
    return Path(os.path.abspath(Path(env.get("PROPIUS_HOME") or base / ".propius").expanduser()))
