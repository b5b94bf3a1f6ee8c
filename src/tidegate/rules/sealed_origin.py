"""Whose seal a client hands back (LLM rule 5, 5.6): a seal that goes out in another vendor's words carries its vendor's
name in front, so that it returns to that vendor alone, byte for byte, without a table.

A client's dialect has one vendor of its own (``own``), whose seals travel bare, as when bytes pass untouched.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

from tidegate.exchange.chat import Origin

MARK: Final = b"tg."
_ENCODED_MARK: Final = b64encode(MARK)
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_VENDOR_SIZE: Final = 64


def marked(seal: bytes, origin: Origin | None, own: str) -> bytes:
    """*seal* as a client may keep it: bare when it is of *own*, else behind its vendor's name."""
    if origin is not None and origin.vendor == own:
        return seal
    vendor = b"" if origin is None else origin.vendor.replace(".", "-").encode()
    return MARK + vendor + b"." + seal


def unmarked(seal: bytes, own: str) -> tuple[bytes, Origin]:
    """The seal itself and its vendor."""
    if seal.startswith(MARK):
        vendor, dot, bare = seal[len(MARK) :].partition(b".")
        if dot and len(vendor) <= _VENDOR_SIZE:
            return bare, Origin(vendor.decode("utf-8", "replace"))
    return seal, Origin(own)


def marked_base64(seal: bytes, origin: Origin | None, own: str) -> bytes:
    """The same for clients that take a seal for base64 and decode it: *own* seals are base64 text already."""
    if origin is not None and origin.vendor == own:
        return seal
    return b64encode(marked(seal, origin, own))


def unmarked_base64(seal: bytes, own: str) -> tuple[bytes, Origin]:
    """The seal itself and its vendor, from base64 in either alphabet when it was marked."""
    if seal.startswith(_ENCODED_MARK):
        standard = seal.translate(_STANDARD)
        try:
            return unmarked(b64decode(standard + b"=" * (-len(standard) % 4), validate=True), own)
        except (Error, ValueError):
            pass
    return seal, Origin(own)
