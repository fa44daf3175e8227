"""Joins a pool: the device makes its key and registers the public half."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from propius import __version__
from propius.agent import control, network
from propius.agent.identity import Enrolment, Home, make_key, public_hex, save_enrolment
from propius.http_errors import ApiError, error_of, unreachable
from propius.wire import Scalar

TIMEOUT_S = 30.0


def enrol(
    url: str,
    token: str,
    home: Home,
    *,
    name: str = "",
    overrides: Mapping[str, Scalar] | None = None,
    transport: httpx.BaseTransport | None = None,
    ca: Path | None = None,
) -> Enrolment:
    """Enrol the device in ``home`` and remember the answer there; safe to repeat.

    Parameters
    ----------
    url, token
        The platform's address and an enrolment token of its pool.
    name
        A name for people; the platform makes one up otherwise.
    overrides
        Attributes to tell at once, of the platform's schema.
    ca
        Certificates of the authority to trust, in PEM; kept for all that this device does.

    Raises
    ------
    ApiError
        The platform cannot be reached at ``url``, or refuses the token.
    OwnerFileError
        ``ca`` cannot be read, or has no certificate.
    """
    verify = network.context(ca) if ca else network.trust(home) or network.context(None)
    home.prepare()
    key = make_key(home)
    body: dict[str, Any] = {
        "token": token,
        "public_key": public_hex(key),
        "sdk": f"propius-python/{__version__}",
        # What may be told is known only from the answer's schema: hello tells what is measured.
        "attributes": dict(overrides or {}),
    }
    if name:
        body["name"] = name
    target = url.rstrip("/") + "/api/v1/devices/enrol"
    try:
        with httpx.Client(timeout=TIMEOUT_S, transport=transport, verify=verify) as client:
            answer = client.post(target, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise unreachable(url, error) from error
    if answer.status_code not in (200, 201):
        raise error_of(answer)
    try:
        enrolment = msgspec.json.decode(answer.content, type=Enrolment)
    except msgspec.DecodeError as error:
        raise ApiError(
            answer.status_code, "not_propius", f"{url} does not answer like a Propius server"
        ) from error
    enrolment = msgspec.structs.replace(enrolment, url=url.rstrip("/"))
    # Kept now, not before: a device that is refused here goes on at its old platform.
    if ca:
        network.keep(ca, home)
    save_enrolment(home, enrolment)
    # Last, or a failure above would let the device serve again the pool that its owner has left.
    (home / control.LEFT).unlink(missing_ok=True)
    return enrolment
