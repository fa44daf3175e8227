"""Nonces of one-shot mode: made without a memory, good once and not for long.

Any gateway may be asked next, so a nonce carries its own end and proof that one of ours made it.
Redis remembers those that were used until they have ended: what was said once cannot be said
again by somebody who listened.
"""

from __future__ import annotations

import hmac
import math
import secrets
import struct

import redis.asyncio
from django.utils.crypto import salted_hmac

from core import connections

LIFE_S = 300
_HEAD = struct.Struct("!Q8s")
_PROOF_BYTES = 16


def issue(now_s: float) -> str:
    """Return a nonce in hex, good for :data:`LIFE_S` from ``now_s`` (seconds since 1970) on."""
    head = _HEAD.pack(math.ceil(now_s + LIFE_S), secrets.token_bytes(8))
    return (head + _proof(head)).hex()


def is_ours(nonce: str, now_s: float) -> bool:
    """Tell whether one of our gateways made ``nonce``, and it has not ended."""
    try:
        raw = bytes.fromhex(nonce)
    except ValueError:
        return False
    head, proof = raw[: _HEAD.size], raw[_HEAD.size :]
    if len(head) != _HEAD.size or not hmac.compare_digest(proof, _proof(head)):
        return False
    ends, _ = _HEAD.unpack(head)
    return bool(now_s < ends)


async def spend(client: redis.asyncio.Redis, nonce: str) -> bool:
    """Use ``nonce`` up; False if it was used before. Raises RedisError."""
    key = f"{connections.PREFIX}nonce:{nonce}"
    return bool(await client.set(key, b"", nx=True, ex=LIFE_S + 1))


def _proof(head: bytes) -> bytes:
    return salted_hmac("propius.gateway.nonces", head, algorithm="sha256").digest()[:_PROOF_BYTES]
