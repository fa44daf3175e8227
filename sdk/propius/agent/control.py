"""The owner's switches, as files in the device's folder: they work without a network.

``paused`` stops the work within a second, and new work, until it is gone again. ``left`` tells the
running agent to end for good. ``agent.lock`` is held by the agent while it runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

from propius.agent.identity import Home, IdentityError, write_private

PAUSED, LEFT, LOCK = "paused", "left", "agent.lock"


def pause(home: Home) -> bool:
    """Ask for a pause; return whether there was none."""
    was = is_paused(home)
    write_private(home / PAUSED, b"propius device resume ends this\n")
    return not was


def resume(home: Home) -> bool:
    """End the pause; return whether there was one."""
    was = is_paused(home)
    (home / PAUSED).unlink(missing_ok=True)
    return was


def is_paused(home: Home) -> bool:
    """Tell whether the owner has paused the device."""
    return (home / PAUSED).exists()


def leave(home: Home) -> None:
    """Tell the running agent, if any, to end."""
    write_private(home / LEFT, b"propius device leave wrote this\n")


def has_left(home: Home) -> bool:
    """Tell whether the owner has let the device leave."""
    return (home / LEFT).exists()


@contextlib.contextmanager
def running(home: Home) -> Iterator[None]:
    """Hold the folder as its one agent.

    Raises
    ------
    IdentityError
        Another agent runs with this folder.
    """
    home.prepare()
    with (home / LOCK).open("a+") as file:
        if not _lock(file):
            file.seek(0)
            raise IdentityError(
                f"an agent (process {file.read().strip() or 'unknown'}) runs with {home.path} "
                "already; stop it, or give this one its own --home"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def runs(home: Home) -> bool:
    """Tell whether an agent runs with this folder."""
    try:
        with (home / LOCK).open("a+") as file:
            return not _lock(file)
    except OSError:
        return False


def _lock(file: IO[str]) -> bool:
    """Lock a file until it is closed; the system ends the lock of a process that dies."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
