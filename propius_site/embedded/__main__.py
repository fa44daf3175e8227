"""Become an embedded server: `python -m propius_site.embedded postgres|valkey HOME`.

The server replaces this process, so the pid that a supervisor knows is the server's own.
"""

import os
import signal
import sys
from pathlib import Path

from propius_site.embedded import folders, paths, postgres, processes, valkey

STOP_SIGNAL = {"postgres": signal.SIGINT, "valkey": signal.SIGTERM}  # INT: fast shutdown


def main(name: str, home: str) -> None:
    where = paths.for_home(Path(home))
    server = {"postgres": postgres, "valkey": valkey}[name]
    server.make_ready(where)
    command = server.command(where)
    processes.drop_to(folders.service_user())
    parent = os.getppid()
    processes.die_with_parent(STOP_SIGNAL[name])
    if os.getppid() != parent:  # it died before we asked to be told
        sys.exit(1)
    os.umask(0o077)
    os.chdir("/")
    os.execve(command[0], command, {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"})


if __name__ == "__main__":
    main(*sys.argv[1:])
