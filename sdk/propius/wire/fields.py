"""Numbers of the protocol and the types of its fields."""

from __future__ import annotations

from typing import Annotated

import msgspec

PROTOCOL = 1
SUPPORTED = (1,)
SUBPROTOCOL = "propius.v1"
MAX_CONTROL = 64 * 1024
MAX_CHUNK = 256 * 1024
WINDOW = 1024 * 1024
"""Bytes that a sender may have under way before the receiver returns credit."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=500)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Name = Annotated[
    str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")
]
"""Without control characters: names become rows, logs and keys."""
Scalar = float | int | str | bool


class Message(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True
):
    """Base of every control message."""
