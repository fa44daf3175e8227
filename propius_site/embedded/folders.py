"""The servers' folders, with the owner and the modes they need."""

import os
import pwd
import shutil
import stat
from pathlib import Path

from propius_site.embedded import processes
from propius_site.embedded.paths import Paths

UNPRIVILEGED = ("nobody", "daemon", "www-data")


class UnsafeFolder(RuntimeError):
    """A folder that only we may enter exists and belongs to somebody else."""


def service_user() -> pwd.struct_passwd | None:
    """Return the user to drop to as root (Postgres refuses to run as root), or None."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return user
    raise RuntimeError(
        f"Embedded servers do not run as root and none of the users {', '.join(UNPRIVILEGED)} "
        "exists here. Run as another user, or set DATABASE_URL and REDIS_URL."
    )


def private(folder: Path, user: pwd.struct_passwd | None = None) -> None:
    """Make ``folder`` 0700 for ``user`` (default: us); refuse one that a stranger prepared.

    Raises
    ------
    UnsafeFolder
        If it is a link or somebody else's: /tmp is open to all.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    owner = user.pw_uid if user else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
        raise UnsafeFolder(
            f"{folder} is a link or belongs to uid {found.st_uid}: remove it and start again."
        )
    if user and found.st_uid != owner:
        os.chown(folder, user.pw_uid, user.pw_gid)
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def create(paths: Paths) -> None:
    """Create every folder of one PROPIUS_HOME; safe to repeat."""
    user = service_user()
    private(paths.home)
    private(paths.logs)
    private(paths.run)
    if user:
        _claim_root_state(paths)
    else:
        private(paths.state)
    private(paths.sockets, user)
    private(paths.control)
    private(paths.valkey_dir, user)


def _claim_root_state(paths: Paths) -> None:
    # Who deletes PROPIUS_HOME means all of it, and the rows would name blobs that are gone.
    if paths.state.exists() and not paths.marker.is_symlink():
        remove(paths)
    if not paths.marker.is_symlink():  # before the folder: whoever sees that, sees the link
        paths.marker.symlink_to(paths.state)
    paths.state.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A strict umask must not keep the service user out of its own folders.
    paths.state.parent.chmod(0o755)
    paths.state.chmod(0o755)


def remove(paths: Paths) -> None:
    """Stop the servers of a PROPIUS_HOME and delete their data and sockets."""
    processes.stop_all_in(paths.pgdata, "postgres")
    processes.stop_all_in(paths.valkey_dir, "valkey-server")
    for folder in (paths.sockets, paths.control, paths.state):
        shutil.rmtree(folder, ignore_errors=True)
    paths.marker.unlink(missing_ok=True)
