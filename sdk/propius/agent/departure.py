"""Leaves a pool for good: tells the running agent, then the platform, then erases what is here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import httpx

from propius import wire
from propius.agent import control, identity, network
from propius.agent.identity import Home, IdentityError
from propius.agent.owner_files import OwnerFileError

TIMEOUT_S = 10.0
STOP_S = 20.0
ERASED = {
    "device.key": "the private key",
    "device.json": "the enrolment",
    network.CA_FILE: "the authority that was trusted",
    "spool": "updates that waited to be sent",
    "cache": "downloaded models and programs",
    "partial": "half-done downloads",
    "memory": "what jobs left behind for their next round",
    "prepared": "prepared copies of data sets",
    "history.sqlite": "the history",
    "pace.json": "speeds learnt",
    "cpu_score.json": "the CPU score",
    "served": "the note of who serves it",
    "paused": "the pause",
    "agent.lock": "the lock",
    "left": "the note that the device leaves",
}
"""By name in the folder, in the order in which they go. The owner's own files stay."""


class AgentRuns(IdentityError):
    """The running agent does not end."""


@dataclass(slots=True)
class Departure:
    """What leaving came to: ``revoked`` if the platform knows, else why not."""

    revoked: bool = False
    why_not: str = ""
    erased: list[str] = field(default_factory=list)


def leave(home: Home, *, erase: bool, transport: httpx.BaseTransport | None = None) -> Departure:
    """End the agent, revoke the device if its platform can be reached, and erase.

    Raises
    ------
    AgentRuns
        The agent that runs with this folder does not end.
    """
    done = Departure()
    control.leave(home)
    _wait_for_the_agent(home)
    try:
        _revoke(home, transport)
        done.revoked = True
    except (IdentityError, OwnerFileError) as error:
        done.why_not = str(error)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        done.why_not = f"the platform cannot be reached: {error}"
    if erase:
        done.erased = [words for name, words in ERASED.items() if _erase(home, name)]
    return done


def _wait_for_the_agent(home: Home) -> None:
    until = time.monotonic() + STOP_S
    while control.runs(home):
        if time.monotonic() > until:
            raise AgentRuns(f"the agent in {home.path} does not end; stop it, then leave again")
        time.sleep(0.1)


def _revoke(home: Home, transport: httpx.BaseTransport | None) -> None:
    enrolment, key = identity.load_enrolment(home), identity.load_key(home)
    if not enrolment.url:
        raise IdentityError("the enrolment does not say where the platform is")
    verify = network.trust(home) or True
    with httpx.Client(timeout=TIMEOUT_S, verify=verify, transport=transport) as client:
        answer = client.post(
            f"{enrolment.url}/api/v1/devices/leave",
            json={
                "device": enrolment.device,
                "signature": key.sign(wire.leaving(enrolment.device)).hex(),
            },
        )
    if answer.status_code != 204:
        raise IdentityError(f"the platform answers {answer.status_code}: {answer.text[:200]}")


def _erase(home: Home, name: str) -> bool:
    """Delete a file, or a folder with what is in it; tell whether it was there."""
    path = home / name
    if path.is_dir() and not path.is_symlink():
        for one in sorted(path.rglob("*"), reverse=True):
            one.rmdir() if one.is_dir() and not one.is_symlink() else one.unlink(missing_ok=True)
        path.rmdir()
        return True
    if path.exists() or path.is_symlink():
        path.unlink()
        return True
    return False
