"""What a credential looks like and what it is kept as: API key format, typo check, digests, challenges. No look-ups,
no clock, no chance: random bytes come from the caller."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Sequence
from typing import Final

from tidegate.exchange.exchange import Exchange

LONGEST_KEY: Final = 1024
"""Own keys have 72 to 88 characters, foreign ones rarely more than 200; a longer text is no key."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OWN_KEY: Final = re.compile(r"(tg_[a-z0-9]{1,16}_[0-9A-Za-z]{12}_[0-9A-Za-z]{43})_([0-9a-f]{8})\Z")
_ENVIRONMENT: Final = re.compile(r"[a-z0-9]{1,16}\Z")
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\Z")
_QUERY_KEYS: Final = frozenset({"api_key", "key", "access_token", "token"})
_CHALLENGES: Final = "challenges"


# -- API keys (S7.8) ---------------------------------------------------------------------------------------------------


def _base62(data: bytes, length: int) -> str:
    number = int.from_bytes(data, "big")
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text = _ALPHABET[digit] + text
    return text


def make_key(environment: str, chance: bytes) -> tuple[str, str]:
    """A new key and its public id: ``tg_<env>_<id>_<secret>_<crc>``. *chance* is 48 unpredictable bytes: 16 for the
    id, of which 12 base-62 digits are kept, and 32 for the secret. ``ValueError`` for a bad environment name."""
    if _ENVIRONMENT.match(environment) is None or len(chance) != 48:
        raise ValueError("an environment is 1 to 16 lower-case letters or digits, chance is 48 bytes")
    key_id = _base62(chance[:16], 12)
    body = f"tg_{environment}_{key_id}_{_base62(chance[16:], 43)}"
    return f"{body}_{zlib.crc32(body.encode()):08x}", key_id


def has_typo(key: str) -> bool:
    """True for a key of our own format whose checksum is wrong, and for a text too long to be any key: both are
    refused without a look-up. A foreign key, ``tg-mobile-key`` say, has none to check."""
    if len(key) > LONGEST_KEY:
        return True
    own = _OWN_KEY.match(key)
    return own is not None and f"{zlib.crc32(own.group(1).encode()):08x}" != own.group(2)


def digest_of(pepper: bytes, key: bytes) -> bytes:
    """What a key is kept and found as: HMAC-SHA-256 of the whole key under *pepper*. It is no credential itself, and
    because nobody outside can steer it, the time a search by it takes says nothing about the keys (S7.2)."""
    return hmac.digest(pepper, key, "sha256")


def name_digest(name: str) -> bytes:
    """The row of a consumer's own record in the key table; it can meet no key digest, which are keyed."""
    return hashlib.sha256(b"consumer\x00" + name.encode()).digest()


def read_peppers(text: str) -> tuple[bytes, ...]:
    """The peppers of a pepper file, oldest first: one a line, hexadecimal, at least 32 bytes (C9.1). The version is
    the line's number. ``ValueError`` names no content."""
    peppers: list[bytes] = []
    for number, line in enumerate(text.split(), 1):
        try:
            pepper = bytes.fromhex(line)
        except ValueError:
            pepper = b""
        if len(pepper) < 32:
            raise ValueError(f"pepper {number} is not at least 64 hexadecimal digits")
        peppers.append(pepper)
    if not peppers:
        raise ValueError("the pepper file is empty")
    return tuple(peppers)


# -- what a request carries (S7.3, S7.9) -------------------------------------------------------------------------------


def token_of(authorization: str | None, scheme: str) -> str | None:
    """What stands behind *scheme* (lower case) in an ``Authorization`` value; "" when nothing does; None when the
    field is absent or of another scheme."""
    if authorization is None:
        return None
    name, _, rest = authorization.partition(" ")
    return rest.strip(" ") if name.lower() == scheme else None


def looks_like_jwt(token: str) -> bool:
    """Three base64url parts of which the first opens a JSON object: a JWT and not an API key."""
    return _JWT.match(token) is not None


def key_in_query(query: str) -> bool:
    """True when a query parameter has a name that API keys travel under; such a key is refused (S7.9)."""
    if not query:
        return False
    return any(pair.partition("=")[0] in _QUERY_KEYS for pair in query.split("&"))


def basic_pair(token: str) -> tuple[str, str] | None:
    """(user, password) of a Basic token (RFC 7617, UTF-8), or None when it is malformed."""
    try:
        text = base64.b64decode(token.encode(), validate=True).decode()
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    if not colon or not user or any(c < " " or c == "\x7f" for c in text):
        return None
    return user, password


# -- challenges (S7.2) -------------------------------------------------------------------------------------------------


def offer(x: Exchange, challenge: str) -> None:
    """Remember that an optional filter would have taken *challenge*'s scheme: who refuses later names all of them."""
    offered: list[str] | None = x.noted(_CHALLENGES)
    if offered is None:
        x.note(_CHALLENGES, [challenge])
    elif challenge not in offered:
        offered.append(challenge)


def offers(x: Exchange) -> Sequence[str]:
    """The challenges optional filters have left behind."""
    return x.noted(_CHALLENGES) or ()
