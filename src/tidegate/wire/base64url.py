"""base64url without padding (RFC 7515 2), strictly: one text for one value. The library's decoder skips what it does
not know and ignores spare bits, so that many texts would stand for one signature."""

from __future__ import annotations

import base64
import re
from typing import Final

_TEXT: Final = re.compile(r"[A-Za-z0-9_-]*\Z")
_LAST_OF_TWO: Final = frozenset("AQgw")
"""Last characters of a rest of two: the four lowest bits are spare, and zero."""
_LAST_OF_THREE: Final = frozenset("AEIMQUYcgkosw048")
"""Last characters of a rest of three: two spare bits, and zero."""


def decode(text: str) -> bytes | None:
    """The bytes of *text*, or None when it is not the one right way to write any."""
    if _TEXT.match(text) is None:
        return None
    rest = len(text) & 3
    if rest == 1 or (rest == 2 and text[-1] not in _LAST_OF_TWO) or (rest == 3 and text[-1] not in _LAST_OF_THREE):
        return None
    return base64.urlsafe_b64decode(text + "=" * (-len(text) & 3))


def encode(data: bytes) -> str:
    """*data* in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
