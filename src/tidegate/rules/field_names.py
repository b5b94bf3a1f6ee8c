"""Field names an operator may edit: not those that frame a message, end at this hop, or say whom it is for (S10.1)."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")

UNTOUCHABLE: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Framing, hop-by-hop and ``Host``: the engine makes these itself, and a wrong one splits messages."""

CREDENTIALS: Final = frozenset(
    {"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key"}
)
"""Request fields that carry the caller's secrets (S7.5, S7.9)."""


def editable(name: str) -> str:
    """*name* in lower case, or ``ValueError`` when it is no field name or none that may be edited."""
    if _TOKEN.match(name) is None:
        raise ValueError(f"{name!r} is no field name")
    lower = name.lower()
    if lower in UNTOUCHABLE:
        raise ValueError(f"{lower} frames the message or belongs to one hop: it cannot be edited")
    return lower
