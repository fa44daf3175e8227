"""Processes of ours that an earlier run left behind, and the bond of a child to its parent."""

import ctypes
import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1


def die_with_parent(sig: signal.Signals) -> None:
    """Have the kernel send us ``sig`` when our parent dies; survives exec.

    Nothing is left behind then, however the parent ended. A change of user clears it, so this
    comes after `drop_to`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def drop_to(user: pwd.struct_passwd | None) -> None:
    """Become ``user`` for good; nothing to do for None."""
    if user is None:
        return
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def found_in(folder: Path, name: str) -> list[psutil.Process]:
    """Return the processes called ``name`` that work in ``folder``.

    Both servers change into their data folder, which tells ours from any other of the same name
    even where a pid file is stale and its pid is somebody else's by now.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == name and Path(process.cwd()) == folder:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def stop_all_in(folder: Path, name: str, *, grace_s: float = 10.0) -> int:
    """Stop what an earlier run left in ``folder``; return how many there were."""
    folder = folder.resolve()
    left = found_in(folder, name)
    pids = {process.pid for process in left}
    # Children of a living parent end with it; those of a dead one have to be told.
    _signal(left, lambda process: _stop(process, pids))
    _, alive = psutil.wait_procs(left, timeout=grace_s)
    _signal(alive, lambda process: process.kill())
    psutil.wait_procs(alive, timeout=5)
    return len(left)


def _stop(process: psutil.Process, pids: set[int]) -> None:
    if process.ppid() in pids:
        return
    # For a backend without its postmaster SIGINT would only cancel a query.
    orphaned_backend = process.cmdline()[:1] and process.cmdline()[0].startswith("postgres:")
    process.send_signal(signal.SIGQUIT if orphaned_backend else signal.SIGINT)


def _signal(processes: list[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            send(process)
        except psutil.NoSuchProcess:
            continue
