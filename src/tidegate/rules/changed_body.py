"""What a message must stop saying about its body once the body is another one (S10.3, S20.2)."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from tidegate.exchange.head import Fields

_DIGESTS: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
_OF_THE_BYTES: Final = frozenset({"accept-ranges", "content-digest", "content-md5", "digest", "repr-digest"})
"""Fields that speak of bytes which are not sent any more."""


def weak(etag: str) -> str:
    """*etag* as a weak one: the meaning is the same, the bytes are not."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def coded_fields(fields: Fields) -> Fields:
    """*fields* of an answer whose bytes are coded anew on their way: digests go, for the bytes are not known yet."""
    return [
        (name, weak(value) if name == "etag" else value) for name, value in fields if name not in _OF_THE_BYTES
    ]  # fmt: skip


def changed_fields(fields: Fields, body: bytes) -> Fields:
    """*fields* of a message that carries *body* instead: RFC 9530 digests are made again by the algorithms they had,
    older kinds go."""
    kept = [f for f in coded_fields(fields) if f[0] != "content-encoding"]
    for name, value in fields:
        if name in ("content-digest", "repr-digest"):
            remade = digest_of(body, value)
            if remade:
                kept.append((name, remade))
    return kept


def digest_of(body: bytes, like: str) -> str:
    """The ``Content-Digest`` of *body* by the algorithms that *like*, an old value, names; "" when none is known."""
    members = []
    for item in like.split(","):
        name = item.partition("=")[0].strip().lower()
        maker = _DIGESTS.get(name)
        if maker is not None:
            members.append(f"{name}=:{base64.b64encode(maker(body).digest()).decode('ascii')}:")
    return ", ".join(dict.fromkeys(members))
