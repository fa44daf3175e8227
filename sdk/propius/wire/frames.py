"""Frames: control messages to text and back, chunks to binary and back."""

from __future__ import annotations

import struct
from typing import TypeVar

import msgspec

from propius.wire.device import FromDevice
from propius.wire.fields import MAX_CHUNK, MAX_CONTROL, Message
from propius.wire.gateway import FromGateway

T = TypeVar("T")

CHUNK_HEADER = struct.Struct("!BxxxIQ")
CHUNK_KIND = 1


class ProtocolError(ValueError):
    """A frame that the protocol does not allow; ``code`` is stable, the text is for people."""

    def __init__(self, message: str, *, code: str = "bad_frame") -> None:
        super().__init__(message)
        self.code = code


_encoder = msgspec.json.Encoder()
_from_device: msgspec.json.Decoder[FromDevice] = msgspec.json.Decoder(FromDevice)
_from_gateway: msgspec.json.Decoder[FromGateway] = msgspec.json.Decoder(FromGateway)


def encode(message: Message) -> str:
    """Return the text frame of a control message."""
    return _encoder.encode(message).decode()


def decode_from_device(text: str | bytes) -> FromDevice:
    """Parse a control frame that a device sent.

    Raises
    ------
    ProtocolError
        Too long, not JSON, an unknown type or field, or a value out of range; the message names
        the field.
    """
    return _decode(_from_device, text)


def decode_from_gateway(text: str | bytes) -> FromGateway:
    """Parse a control frame that a gateway sent. Raises as :func:`decode_from_device`."""
    return _decode(_from_gateway, text)


def _decode(decoder: msgspec.json.Decoder[T], text: str | bytes) -> T:
    if len(text) > MAX_CONTROL:
        raise ProtocolError(
            f"control frame of {len(text)} bytes; at most {MAX_CONTROL} allowed", code="too_long"
        )
    try:
        return decoder.decode(text)
    except RecursionError as error:
        raise ProtocolError("nested too deeply", code="bad_message") from error
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error), code="bad_message") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ProtocolError(f"not JSON in UTF-8: {error}", code="bad_frame") from error


def proof(nonce: str, device: str) -> bytes:
    """Return the bytes a device signs at hello: the protocol's name, the nonce and its id."""
    return b"propius hello v1\n" + nonce.encode() + b"\n" + device.encode()


def leaving(device: str) -> bytes:
    """Return the bytes a device signs to leave for good."""
    return b"propius leave v1\n" + device.encode()


def pack_chunk(transfer: int, offset: int, payload: bytes | memoryview) -> bytes:
    """Return a binary frame: kind, transfer number, offset of its first byte, payload."""
    return CHUNK_HEADER.pack(CHUNK_KIND, transfer, offset) + payload


def unpack_chunk(frame: bytes) -> tuple[int, int, memoryview]:
    """Split a binary frame into (transfer, offset, payload).

    Raises
    ------
    ProtocolError
        Shorter than its header, of an unknown kind, empty, or over :data:`MAX_CHUNK`.
    """
    size = len(frame) - CHUNK_HEADER.size
    if size < 1:
        raise ProtocolError(f"chunk frame of {len(frame)} bytes has no payload")
    if size > MAX_CHUNK:
        raise ProtocolError(f"chunk of {size} bytes; at most {MAX_CHUNK} allowed", code="too_long")
    kind, transfer, offset = CHUNK_HEADER.unpack_from(frame)
    if kind != CHUNK_KIND:
        raise ProtocolError(f"binary frame of kind {kind}; only {CHUNK_KIND} (chunk) is known")
    return transfer, offset, memoryview(frame)[CHUNK_HEADER.size :]
