"""The operators' part of the REST API: they sign in by name and password, and have no token."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from propius.calls import FEW, Calls
from propius.http_errors import ApiError


class Operator:
    """Speaks to one Propius server as one of its operators.

    Parameters
    ----------
    url
        The server's address.
    name, password
        As for the console at ``/admin/``.
    retries
        Times that a call that is lost on the way is made again.
    transport
        For tests: an ``httpx`` transport.

    Examples
    --------
    >>> with Operator("http://127.0.0.1:8000", "root", "a good one") as me:  # doctest: +SKIP
    ...     print(me.preview({"policy": "srsf", "hours": 6})["proposed"]["waiting_s"])
    """

    def __init__(
        self,
        url: str,
        name: str,
        password: str,
        *,
        retries: int = FEW,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        proof = httpx.BasicAuth(name, password)
        self._calls = Calls(url, auth=proof, retries=retries, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._calls.http.close()

    def preview(
        self, proposal: Mapping[str, Any], *, timeout_s: float = 600.0, every_s: float = 1.0
    ) -> dict[str, Any]:
        """Replay the last hours under what is in force and under a proposal; return both.

        Parameters
        ----------
        proposal
            ``policy`` with its ``parameters``, ``shares`` by tenant, ``hours`` back, ``seed``.

        Raises
        ------
        ApiError
            The proposal makes no sense, nothing was recorded (code ``preview_failed``), or there
            is no answer after ``timeout_s`` (``timeout``).
        """
        until = time.monotonic() + timeout_s
        asked = self._calls.post("policy/previews", dict(proposal))
        self._calls.http.auth = httpx.Auth()  # without one: the answer has opened a session
        while asked["preview"] is None:
            if asked["fault"]:
                raise ApiError(0, "preview_failed", asked["fault"])
            if time.monotonic() >= until:
                fix = "is worker-batch running?" if asked["phase"] == "asked" else ""
                text = f"the preview is not finished after {timeout_s:g} s"
                raise ApiError(0, "timeout", text, fix=fix)
            time.sleep(every_s)
            asked = self._calls.get(f"policy/previews/{asked['id']}")
        found: dict[str, Any] = asked["preview"]
        return found
