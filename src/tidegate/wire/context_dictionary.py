"""Dictionaries that bodies of context requests are compressed with: framing, training, the one that is shipped
(CRP 6.5, RFC 9842). Reading them is ``context_body``'s.

A dictionary is raw content: bytes that come up again. It gives away what it was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

SHIPPED: Final = "crp-delta-json-1"
"""Deltas in JSON, trained on what ``benchmarks/contexts/train_dictionary`` makes up."""
MAGIC: Final = b"\x5e\x2a\x4d\x18\x20\x00\x00\x00"
"""How ``dcz`` begins; 32 bytes with the hash of the dictionary follow."""
LEVEL: Final = 9
"""Bodies are short and a client has time: higher levels save no more."""
LONGEST: Final = 64 * 1024


@cache
def shipped() -> bytes:
    """The dictionary ``SHIPPED``. Read from the package at the first use."""
    return Path(__file__).with_name(f"{SHIPPED}.dict").read_bytes()


def encode(body: bytes, dictionary: bytes) -> bytes:
    """*body* as ``Content-Encoding: dcz``."""
    from backports import zstd

    made = zstd.ZstdDict(dictionary, is_raw=True)
    return MAGIC + sha256(dictionary).digest() + zstd.compress(body, level=LEVEL, zstd_dict=made)


def train(bodies: Sequence[bytes], size: int) -> bytes:
    """What comes up again in *bodies*, as raw content of at most *size* bytes (``LONGEST``), the most frequent last.
    *bodies* are text: nothing but text comes out. ``ValueError`` where they are too few."""
    from backports import zstd

    if size > LONGEST:
        raise ValueError(f"a dictionary has at most {LONGEST} bytes")
    try:
        trained: bytes = zstd.train_dict(bodies, size).dict_content
    except (zstd.ZstdError, ValueError) as error:
        raise ValueError(f"these bodies train no dictionary: {error}") from None
    # Before the text stand tables for zstd alone, which raw content has no use for.
    start = next((at for at in range(len(trained)) if _is_text(trained[at : at + 64])), len(trained))
    return trained[start:]


def _is_text(piece: bytes) -> bool:
    return all(32 <= byte < 127 for byte in piece)
