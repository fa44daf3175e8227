"""Proxies and authorities: both modes, through a real CONNECT proxy to a real TLS server."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import random
import ssl
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import serve
from websockets.http11 import Response

from propius import wire
from propius.agent import control, doctor, enrolment, identity, network
from propius.agent.connection import AgentStopped, Backoff, open_socket
from propius.agent.identity import Home
from propius.agent.introduction import Introduction
from propius.agent.owner_files import OwnerFileError
from propius.agent.visits import Visits
from propius.http_errors import ApiError
from tests.unit.sdk.agent.scripted import NONCE, device_home

CHALLENGE = wire.encode(wire.Challenge(nonce=NONCE, protocols=[1])).encode()
ME = Introduction("d1", "sdk", {}, {}, lambda data: bytes(64))


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make an authority and a server's certificate for 127.0.0.1; return the server's side."""
    now = datetime.datetime.now(datetime.UTC)
    by_key = x509.AuthorityKeyIdentifier

    def use(*, is_ca: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=True, key_cert_sign=is_ca, crl_sign=is_ca, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip

    def signed(name: str, key, by: str, signer, *, is_ca: bool) -> x509.Certificate:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)])
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(named)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([here]), critical=False)
            # Python 3.13 takes no certificate without these three.
            .add_extension(use(is_ca=is_ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(by_key.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = signed("test authority", authority, "test authority", authority, is_ca=True)
    leaf = signed("127.0.0.1", server, "test authority", authority, is_ca=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context, folder / "ca.pem"


@pytest.fixture
async def secure(tmp_path: Path):
    """A gateway behind TLS that greets on the websocket and over HTTP; its port and authority."""
    context, ca = certificate(tmp_path)

    async def greet(socket) -> None:
        await socket.send(CHALLENGE.decode())
        await socket.wait_closed()

    def over_http(connection, request) -> Response | None:
        if "upgrade" in request.headers.get("connection", "").lower():
            return None
        answer = connection.respond(200, CHALLENGE.decode() + "\n")
        del answer.headers["Content-Type"]
        answer.headers["Content-Type"] = "application/x-ndjson"
        return answer

    async with serve(
        greet, "127.0.0.1", 0, ssl=context, subprotocols=[wire.SUBPROTOCOL],
        process_request=over_http,
    ) as server:  # fmt: skip
        yield next(iter(server.sockets)).getsockname()[1], ca


@pytest.fixture
async def proxy():
    """A CONNECT proxy: its address, and what it was asked to connect to."""
    asked: list[str] = []

    async def pipe(reader, writer) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def tunnel(reader, writer) -> None:
        method, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
        assert method == b"CONNECT"
        asked.append(target.decode())
        host, _, port = target.decode().partition(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, back), pipe(there, writer), return_exceptions=True)

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    server.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "device")
    one.prepare()
    return one


async def greeted_by_both(port: int, home: Home) -> None:
    url = f"wss://127.0.0.1:{port}/device/v1"
    socket = await open_socket(url, network.trust(home))
    assert isinstance(wire.decode_from_gateway(await socket.recv()), wire.Challenge)
    await socket.close()
    async with network.http_client(home) as client:
        assert (await Visits(client, url, ME).challenge()).nonce == NONCE


async def test_the_owners_authority_is_trusted_in_both_modes(secure, home):
    port, ca = secure
    network.keep(ca, home)
    await greeted_by_both(port, home)


async def test_the_environments_authority_is_trusted_in_both_modes(secure, home, monkeypatch):
    port, ca = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    await greeted_by_both(port, home)


async def test_another_authority_is_refused_at_once_with_the_fix(secure, home):
    port, _ = secure
    url = f"wss://127.0.0.1:{port}/device/v1"
    with pytest.raises(AgentStopped, match="--ca FILE"):
        await open_socket(url, network.trust(home))
    async with network.http_client(home) as client:
        with pytest.raises(AgentStopped, match="--ca FILE"):
            await Visits(client, url, ME).challenge()


async def test_both_modes_go_through_the_proxy(secure, proxy, home, monkeypatch):
    port, ca = secure
    address, asked = proxy
    network.keep(ca, home)
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await greeted_by_both(port, home)
    assert asked == [f"127.0.0.1:{port}"] * 2


def test_a_file_without_certificates_is_refused_by_name(tmp_path, home):
    (tmp_path / "notes.txt").write_text("no certificate")
    with pytest.raises(OwnerFileError, match=r"notes\.txt holds no certificate"):
        network.keep(tmp_path / "notes.txt", home)
    with pytest.raises(OwnerFileError, match="cannot be read"):
        network.keep(tmp_path / "missing.pem", home)
    assert network.trust(home) is None


ENROLLED = {"device": "d1", "gateway": "ws://x", "pool": "p", "pool_tenants": ["acme"]}


@pytest.fixture
async def platform(tmp_path: Path):
    """A platform behind TLS that takes any token but ``expired``; its address and authority."""
    context, ca = certificate(tmp_path)

    async def answer(reader, writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length: ")[2].split()[0])
        refused = b"expired" in await reader.readexactly(size)
        status, body = (b"403 Forbidden", {"code": "token_expired", "detail": "it has expired"})
        if not refused:
            status, body = b"201 Created", ENROLLED
        content = msgspec.json.encode(body)
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n" % (status, len(content)))
        writer.write(b"Connection: close\r\n\r\n" + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", ca
    server.close()


async def enrolled(url: str, token: str, home: Home, ca: Path | None = None) -> identity.Enrolment:
    return await asyncio.to_thread(enrolment.enrol, url, token, home, ca=ca)


async def test_enrolment_trusts_the_owners_authority_and_keeps_it(platform, home):
    url, ca = platform
    with pytest.raises(ApiError, match=r"is not trusted.*enrol with --ca FILE"):
        await enrolled(url, "t", home)
    assert (await enrolled(url, "t", home, ca)).device == "d1"
    assert (home / network.CA_FILE).read_bytes() == ca.read_bytes()
    ca.unlink()
    await enrolled(url, "t", home)  # by what is kept


async def test_a_refused_enrolment_leaves_the_authority_of_before(platform, home):
    url, ca = platform
    (home / network.CA_FILE).write_text("of before")
    with pytest.raises(ApiError, match="it has expired"):
        await enrolled(url, "expired", home, ca)
    assert (home / network.CA_FILE).read_text() == "of before"


async def test_a_failed_enrolment_does_not_undo_a_leave(platform, home):
    url, ca = platform
    control.leave(home)
    with pytest.raises(ApiError, match="it has expired"):
        await enrolled(url, "expired", home, ca)
    with pytest.raises(ApiError, match="cannot be reached"):
        await enrolled("https://127.0.0.1:1", "t", home)
    assert control.has_left(home)
    await enrolled(url, "t", home, ca)
    assert not control.has_left(home)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"mine\.pem cannot be read: No such file"),
        ("no certificate", r"mine\.pem holds no certificate in PEM: NO_CERT"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
         r"mine\.pem holds no certificate in PEM: .*PEM lib"),
    ],
)  # fmt: skip
async def test_enrolment_says_what_is_wrong_with_the_authoritys_file(
    tmp_path, content: str | None, words: str
):
    if content is not None:
        (tmp_path / "mine.pem").write_text(content)
    home = Home(tmp_path / "new")
    with pytest.raises(OwnerFileError, match=words):
        await enrolled("https://127.0.0.1:1", "t", home, tmp_path / "mine.pem")
    assert not home.path.exists()


async def test_what_is_no_gateway_ends_it_at_once(home):
    server = await asyncio.start_server(_web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with network.http_client(home) as client:
        with pytest.raises(AgentStopped, match="not as a Propius gateway"):
            await Visits(client, f"ws://127.0.0.1:{port}/device/v1", ME).challenge()
    server.close()


async def _web(reader, writer) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_the_doctor_trusts_whom_the_device_trusts(secure, tmp_path):
    port, ca = secure
    home = Home(device_home(tmp_path / "device", f"wss://127.0.0.1:{port}/device/v1"))
    enrolled = identity.load_enrolment(home)
    identity.save_enrolment(
        home, msgspec.structs.replace(enrolled, url=f"https://127.0.0.1:{port}")
    )

    async def told() -> dict[str, doctor.Finding]:
        found = await asyncio.to_thread(doctor.examine, home)
        return {one.name: one for one in found if one.name in ("network", "gateway")}

    before = await told()
    assert not any(one.ok for one in before.values())
    assert "--ca FILE" in before["network"].fix
    network.keep(ca, home)
    assert all(one.ok for one in (await told()).values())
    (home / "ca.pem").write_text("no more")
    damaged = await asyncio.to_thread(doctor.examine, home)
    assert "ca.pem holds no certificate" in damaged[-1].found


def test_the_wait_before_the_next_try_doubles_with_jitter_and_starts_again_after_success():
    waits = Backoff(base_s=1.0, cap_s=10.0, rng=random.Random(3))
    for full in (1, 2, 4, 8, 10, 10):
        assert full / 2 <= waits.next() <= full
    assert len({waits.next() for _ in range(5)}) == 5
    waits.reset()
    assert 0.5 <= waits.next() <= 1
    assert all(30 <= waits.spread(30) <= 36 for _ in range(20))
