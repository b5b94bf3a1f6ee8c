"""One vector in the format that is wanted: copied where formats agree, counted where they do not (LLM 6)."""

from __future__ import annotations

import struct
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

import msgspec

from tidegate.exchange.embeddings import Vector
from tidegate.exchange.fault import IF_IDEMPOTENT, UPSTREAM, Fault

_floats: Final = msgspec.json.Decoder(list[float]).decode


def as_array(vector: Vector) -> bytes:
    """A JSON array of numbers. Raises ``bad_upstream`` for base64 that is none of little-endian floats."""
    if vector.format != "base64":
        return vector.value
    try:
        packed = a2b_base64(vector.value)
    except Base64Error:
        packed = b""
    if len(packed) % 4 or not packed:
        raise _broken("A vector is no base64 of floats.")
    return msgspec.json.encode(struct.unpack(f"<{len(packed) // 4}f", packed))


def as_base64(vector: Vector) -> str:
    """Base64 of little-endian floats. Raises ``bad_upstream`` for what is no array of numbers."""
    if vector.format == "base64":
        return vector.value.decode("latin-1")
    try:
        numbers = _floats(vector.value)
        return b2a_base64(struct.pack(f"<{len(numbers)}f", *numbers), newline=False).decode()
    except (msgspec.DecodeError, struct.error, OverflowError):
        raise _broken("A vector is no array of numbers.") from None


def _broken(what: str) -> Fault:
    return Fault("bad_upstream", what, reason="bad_answer", side=UPSTREAM, retry=IF_IDEMPOTENT)
