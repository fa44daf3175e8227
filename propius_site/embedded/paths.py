"""Where the embedded servers live: a pure function of PROPIUS_HOME and of who asks.

Any ``manage.py`` command in another terminal finds the same servers without a registry.
A server refuses to run as root, and nothing below a 0700 folder of root is readable for the user
it drops to; so root's servers live in /var/lib/propius/<key>, everybody else's below PROPIUS_HOME.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT_STATE = Path("/var/lib/propius")

POSTGRES_PORT = 5432  # only names the socket file: there is no TCP listener
DATABASE = "propius"


@dataclass(frozen=True)
class Paths:
    """The folders of one PROPIUS_HOME."""

    home: Path
    state: Path
    sockets: Path  # of the servers: 0700 for the user they run as
    control: Path  # of the supervisor: 0700 for us

    @property
    def pgdata(self) -> Path:
        return self.state / "postgres"

    @property
    def valkey_dir(self) -> Path:
        return self.state / "valkey"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def postgres_socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{POSTGRES_PORT}"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def marker(self) -> Path:
        """Link from the home to its state; its absence tells that the home was deleted."""
        return self.home / "embedded"


def for_home(home: Path) -> Paths:
    """Return the folders that belong to ``home``; creates nothing."""
    home = home.resolve()
    key = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    if os.geteuid() == 0:
        state = ROOT_STATE / key
        return Paths(home, state, sockets=state / "sockets", control=state / "control")
    # Unix socket paths end at 107 bytes, so the sockets cannot live below a deep home.
    # Not XDG_RUNTIME_DIR: it is set in some terminals of a user and not in others.
    # Nor TMPDIR, for the same reason.
    # Its owner and mode are checked before it is used.
    sockets = Path("/tmp") / f"propius-{os.geteuid()}-{key}"  # nosec B108
    return Paths(home, home / "state", sockets=sockets, control=sockets)
