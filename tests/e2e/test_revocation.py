"""Who is shut out loses its socket by what revoking publishes, not by a later look at the rows."""

import asyncio
import functools
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import redis
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import hints
from propius import wire
from tests.e2e.running import RunningPlatform

WAIT_S = 30


class Owner:
    """Who may enrol and revoke devices of a private pool, by REST."""

    def __init__(self, platform: RunningPlatform) -> None:
        told = platform.manage("provision", "--tenant", "warden").splitlines()[-1]
        token = json.loads(told)["tenants"]["warden"]["token"]
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=f"{platform.url}/api/v1/", headers=headers)
        self.gateway = platform.gateway_url + "device/v1"
        pool = self.post("pools", name=f"cells-{uuid4().hex[:8]}")["id"]
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        asked = {"name": "x", "max_uses": 9, "expires_at": until}
        self.enrolment = self.post(f"pools/{pool}/enrolment-tokens", **asked)["secret"]

    def post(self, path: str, **body: object) -> dict:
        return self.http.post(path, json=body or None).raise_for_status().json()

    def enrol(self) -> tuple[str, Ed25519PrivateKey]:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw().hex()
        told = self.post("devices/enrol", token=self.enrolment, public_key=public, sdk="test 1")
        return told["device"], key


@pytest.fixture
def owner(platform: RunningPlatform):
    one = Owner(platform)
    yield one
    one.http.close()


async def shut_out(gateway: str, device: str, key: Ed25519PrivateKey, how) -> wire.Refused:
    """Sign in, do ``how``, and return what the device hears before its socket is closed."""
    protocol = websockets.Subprotocol(wire.SUBPROTOCOL)
    async with asyncio.timeout(WAIT_S), websockets.connect(gateway, subprotocols=[protocol]) as one:
        challenge = wire.decode_from_gateway(await one.recv())
        hello = wire.Hello(
            protocol=1, device=device, sdk="test 1", attributes={}, workloads={},
            signature=key.sign(wire.proof(challenge.nonce, device)).hex(),
        )  # fmt: skip
        await one.send(wire.encode(hello))
        assert isinstance(wire.decode_from_gateway(await one.recv()), wire.Welcome)
        await asyncio.to_thread(how)
        refused = wire.decode_from_gateway(await one.recv())
        await one.wait_closed()
        return refused


def test_an_open_socket_is_closed_by_the_message_alone(platform, owner):
    with redis.Redis.from_url(f"unix://{platform.paths.valkey_socket}") as client:
        device, key = owner.enrol()
        said = json.dumps({"revoked": [device]})
        refused = asyncio.run(
            shut_out(owner.gateway, device, key, lambda: client.publish(hints.GATEWAYS, said))
        )
        assert (refused.code, refused.fatal) == ("device_revoked", True)
        # No look at the rows can have done that: they know nothing of it.
        assert owner.http.get(f"devices/{device}").json()["status"] == "active"


def test_revoking_says_that_message_at_once(platform, owner):
    with (
        redis.Redis.from_url(f"unix://{platform.paths.valkey_socket}") as client,
        client.pubsub(ignore_subscribe_messages=True) as heard,
    ):
        heard.subscribe(hints.GATEWAYS)
        device, key = owner.enrol()
        revoke = functools.partial(owner.post, f"devices/{device}/revoke")
        refused = asyncio.run(shut_out(owner.gateway, device, key, revoke))
        assert (refused.code, refused.fatal) == ("device_revoked", True)
        told = (json.loads(message["data"]) for message in heard.listen())
        assert next(one for one in told if "revoked" in one) == {"revoked": [device]}
