"""Is a port free, and if not, who holds it?"""

import errno
import socket

import psutil


class PortTaken(RuntimeError):
    """A port that the platform listens on is in use; the message says what to do."""


def check(*, host: str, port: int, what: str, variable: str) -> None:
    """Raise PortTaken if nothing could listen on ``host:port``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                reason = f"Port {port} for the {what} is taken by {_holder(port)}."
            else:
                reason = f"The {what} cannot listen on {host}:{port}: {error.strerror}."
            raise PortTaken(
                f"{reason} Stop that, or choose another with {variable}=<port>."
            ) from error


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another program"
