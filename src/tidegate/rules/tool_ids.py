"""Ids of tool calls in a vendor's alphabet and length (LLM 5.4): the same answer every time, so no table is needed."""

from __future__ import annotations

from hashlib import sha256
from string import ascii_letters, digits
from typing import Final

SAFE: Final = ascii_letters + digits + "_-"
LETTERS_AND_DIGITS: Final = ascii_letters + digits
_PREFIX: Final = "call_"


def fit_id(id: str, limit: int, alphabet: str = SAFE) -> str:
    """*id* itself when it has at most *limit* characters, all of *alphabet*; else a digest of it that has."""
    if 0 < len(id) <= limit and all(character in alphabet for character in id):
        return id
    prefix = _PREFIX if "_" in alphabet and limit >= 16 else ""
    number = int.from_bytes(sha256(id.encode("utf-8", "surrogatepass")).digest(), "big")
    size = min(limit, 32) - len(prefix)
    letters = LETTERS_AND_DIGITS
    made = []
    for _ in range(size):
        number, at = divmod(number, len(letters))
        made.append(letters[at])
    return prefix + "".join(made)


def minted_id(seed: str, position: int) -> str:
    """An id for call number *position* of a turn whose dialect gives none; *seed* tells the turn from others."""
    return fit_id(f"{seed}#{position}\x00", 26)
