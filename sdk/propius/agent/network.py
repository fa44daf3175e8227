"""How this device reaches the platform: through a proxy if the environment names one, and with its
owner's certificate authority.

``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` count for websockets and HTTP alike. Certificates
are checked against the system's authorities, or those of ``SSL_CERT_FILE``; with ``ca.pem`` in the
device's folder, put there by ``--ca`` at enrolment, against that file.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from propius import __version__
from propius.agent.identity import Home, write_private
from propius.agent.owner_files import OwnerFileError

CA_FILE = "ca.pem"
TIMEOUT = httpx.Timeout(30.0, connect=10.0)


def trust(home: Home) -> ssl.SSLContext | None:
    """Return what trusts the owner's authority; ``None`` for the system's. Raises as below."""
    path = home / CA_FILE
    return context(path) if path.exists() else None


def context(ca: Path | None) -> ssl.SSLContext:
    """Return a context that trusts this file's authorities, or the system's.

    Raises
    ------
    OwnerFileError
        The file cannot be read, or has no certificate.
    """
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(ca))
    except ssl.SSLError as error:
        raise OwnerFileError(
            f"{ca} holds no certificate in PEM: {error.reason or error}"
        ) from error
    except OSError as error:
        raise OwnerFileError(f"{ca} cannot be read: {error.strerror or error}") from error


def keep(ca: Path, home: Home) -> None:
    """Make ``ca`` this device's authority. Raises :class:`OwnerFileError`."""
    context(ca)
    home.prepare()
    write_private(home / CA_FILE, ca.read_bytes())


def http_client(home: Home) -> httpx.AsyncClient:
    """Return a client for this device's HTTP. Raises :class:`OwnerFileError`."""
    return httpx.AsyncClient(
        verify=trust(home) or context(None),
        timeout=TIMEOUT,
        headers={"user-agent": f"propius-python/{__version__}"},
    )
