"""``propius doctor``: does everything between this user and the platform work?"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from urllib.parse import urlsplit

from propius import __version__
from propius.agent.doctor import Finding, server
from propius.cli import profile
from propius.cli.words import Output, OutputOption, UsageError, explained, show_findings
from propius.client import Client
from propius.http_errors import ApiError

AGAIN = "sign in again: propius login --url URL --token TOKEN"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NEEDED = {
    "jobs:read": "to see jobs",
    "jobs:write": "to submit and steer them",
    "models:read": "to download models",
    "models:write": "to upload programs and parameters",
}


@explained
def doctor(output: OutputOption = Output.TABLE) -> None:
    """Check address, TLS, token, scopes, clock and versions; say the fix for each fault.

    The status is 1 if a check fails.
    """
    show_findings(list(examine()), output)


def examine() -> Iterator[Finding]:
    """Run the checks, up to one that the others need."""
    versions = f"propius-sdk {__version__}, Python {platform.python_version()}"
    yield Finding("version", True, versions)
    try:
        url, token = profile.chosen()
    except UsageError as error:
        yield Finding("profile", False, str(error), AGAIN)
        return
    yield Finding("profile", True, f"{profile.CHOSEN.get()}, for {url}")
    findings = server(url, AGAIN)
    yield from findings
    if findings[0].ok:
        yield _encryption(url)
        yield from _token(url, token)


def _encryption(url: str) -> Finding:
    asked = urlsplit(url)
    if asked.scheme == "https":
        return Finding("encryption", True, "https")
    if asked.hostname in LOOPBACK:
        return Finding("encryption", True, "none, and none is needed on this machine")
    fix = "use the platform's https address: " + AGAIN
    return Finding("encryption", False, "http: others on the way can read your token", fix)


def _token(url: str, token: str) -> list[Finding]:
    try:
        with Client(url, token, retries=0) as client:
            caller = client.me()
    except ApiError as error:
        if error.status == 403:  # a good token that may do other things, but not this
            return [Finding("token", True, "known; it may not say whose it is")]
        fix = f"make a token on the platform's page of tokens, then {AGAIN}"
        return [Finding("token", False, error.detail, fix)]
    known = Finding("token", True, f"{caller.name} of tenant {caller.tenant}")
    missing = [f"{scope} ({why})" for scope, why in NEEDED.items() if scope not in caller.scopes]
    if not missing:
        return [known, Finding("scopes", True, ", ".join(caller.scopes))]
    fix = "let a member who has them make you a token with these scopes, if you need them"
    return [known, Finding("scopes", False, f"without {', '.join(missing)}", fix)]
