"""Embedded Valkey 9: soft state only, so it keeps nothing on disk."""

from propius_site.embedded import binaries, folders, processes
from propius_site.embedded.paths import Paths


def command(paths: Paths) -> list[str]:
    settings = {
        "port": "0",  # the socket in a 0700 folder is the only door
        "unixsocket": str(paths.valkey_socket),
        "unixsocketperm": "700",
        "dir": str(paths.valkey_dir),
        "daemonize": "no",
        "save": "",
        "appendonly": "no",
        # Dropping a lease or a queue silently would be worse than an error.
        "maxmemory-policy": "noeviction",
        "maxclients": "4096",
        "databases": "16",
        "loglevel": "notice",
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return [str(binaries.locate().valkey), *options]


def make_ready(paths: Paths) -> None:
    """Create the folders, and clear what a killed run left behind."""
    folders.create(paths)
    processes.stop_all_in(paths.valkey_dir, "valkey-server")
