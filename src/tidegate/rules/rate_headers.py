"""How limits are told to clients: the ``RateLimit-Policy`` and ``RateLimit`` fields of IETF draft-10 (S9.9).

Text in, text out. What does not change from request to request is made once (``policy_member``, ``limit_prefix``).
"""

from __future__ import annotations


def sf_string(text: str) -> str:
    """*text* as a structured-field string (RFC 9651): quoted, ``"`` and ``\\`` escaped. What such a string cannot hold
    is percent-encoded, so that a route may be named in any script."""
    parts = ['"']
    for character in text:
        if character in '"\\':
            parts.append("\\" + character)
        elif " " <= character <= "~":
            parts.append(character)
        else:
            parts.extend(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
    parts.append('"')
    return "".join(parts)


def policy_member(name: str, quota: int, window: float = 0.0, unit: str = "") -> str:
    """One member of ``RateLimit-Policy``: ``"name";q=100;w=1``.

    *window* in seconds; the grammar knows whole seconds only, so any other window is left out, as is 0. *unit* is the
    ``qu`` parameter, left out for plain requests.
    """
    member = f"{sf_string(name)};q={quota}"
    if unit:
        member += f";qu={sf_string(unit)}"
    if window >= 1.0 and window == int(window):
        member += f";w={int(window)}"
    return member


def limit_prefix(name: str) -> str:
    """The part of a ``RateLimit`` member that stays: ``"name";r=``."""
    return f"{sf_string(name)};r="


def limit_member(prefix: str, remaining: int, reset: float) -> str:
    """One member of ``RateLimit``: ``"name";r=99;t=1``. *reset* in seconds, rounded up, never below 0."""
    whole = int(reset)
    if whole < reset:
        whole += 1
    return f"{prefix}{remaining if remaining > 0 else 0};t={whole if whole > 0 else 0}"
