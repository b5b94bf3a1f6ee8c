"""HTTP message signatures (RFC 9421) and content digests (RFC 9530): what was signed, and does it hold (S7.16)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import NO_BODY
from tidegate.wire.structured_fields import InnerList, Item, parse_dictionary, write_bare, write_inner_list

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

HMAC_SHA256: Final = "hmac-sha256"
ED25519: Final = "ed25519"
ECDSA_P256: Final = "ecdsa-p256-sha256"
RSA_PSS: Final = "rsa-pss-sha512"

MUST_COVER: Final = frozenset({"@method", "@authority", "@path", "@query"})
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})
LONGEST_NONCE: Final = 256
MOST_COMPONENTS: Final = 32

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_DIGESTS: Final = {"sha-256": "sha256", "sha-512": "sha512"}


# -- what was signed ---------------------------------------------------------------------------------------------------


def signature_base(x: Exchange, signed: InnerList) -> str:
    """The text under the signature (RFC 9421 2.5). Derived components come from the canonical values that routing
    and limits use. ``ValueError`` for a component that is missing, unknown, named twice or has parameters."""
    lines: list[str] = []
    seen: set[str] = set()
    if len(signed.items) > MOST_COMPONENTS:
        raise ValueError("too many components")
    for item in signed.items:
        name = item.value
        if not isinstance(name, str) or item.params or name in seen:
            raise ValueError("a component is a name without parameters, once")
        seen.add(name)
        lines.append(f"{write_bare(name)}: {_component(x, name)}")
    lines.append(f'"@signature-params": {write_inner_list(signed)}')
    return "\n".join(lines)


def _component(x: Exchange, name: str) -> str:
    if not name.startswith("@"):
        values = [value for field, value in x.head.fields if field == name]
        if not values:
            raise ValueError("a component names a field that is not there")
        return ", ".join(value.strip(" \t") for value in values)
    if name == "@method":
        return x.method
    if name == "@authority":
        return _authority(x)
    if name == "@path":
        return x.path
    if name == "@query":
        return f"?{x.query}"
    if name == "@scheme":
        return x.peer.scheme
    if name == "@target-uri":
        return f"{x.peer.scheme}://{_authority(x)}{x.path}" + (f"?{x.query}" if x.query else "")
    raise ValueError("an unknown derived component")


def _authority(x: Exchange) -> str:
    if x.port and x.port != _DEFAULT_PORTS.get(x.peer.scheme):
        return f"{x.host}:{x.port}"
    return x.host


def covers_enough(x: Exchange, signed: InnerList, also: Iterable[str] = ()) -> bool:
    """Does the signature cover all that S7.16 asks, the digest of a body and the components in *also*?"""
    covered = {item.value for item in signed.items}
    return (
        covered >= MUST_COVER
        and covered.issuperset(also)
        and (x.head.body_length == NO_BODY or "content-digest" in covered)
    )


def is_timely(signed: InnerList, wall: float, window: float) -> bool:
    """``created`` within *window* seconds of *wall* on either side, ``expires``, if there, not passed."""
    created = signed.params.get("created")
    expires = signed.params.get("expires", 0)
    if not _is_integer(created) or not _is_integer(expires):
        return False
    assert isinstance(created, int) and isinstance(expires, int)
    return abs(wall - created) <= window and ("expires" not in signed.params or wall < expires)


def nonce_of(signed: InnerList) -> str | None:
    """The nonce, "" when there is none, None when it is unusable."""
    nonce = signed.params.get("nonce", "")
    usable = isinstance(nonce, str) and len(nonce) <= LONGEST_NONCE and ("nonce" not in signed.params or nonce != "")
    return nonce if usable and isinstance(nonce, str) else None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -- does it hold ------------------------------------------------------------------------------------------------------


def mac_holds(secret: bytes, base: str, signature: bytes) -> bool:
    """hmac-sha256 (RFC 9421 3.3.3), in constant time."""
    return hmac.compare_digest(hmac.digest(secret, base.encode("latin-1"), "sha256"), signature)


def signature_holds(key: PublicKey, base: str, signature: bytes) -> bool:
    """ed25519, ecdsa-p256-sha256 or rsa-pss-sha512 (RFC 9421 3.3), by the kind of *key*."""
    message = base.encode("latin-1")
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if len(signature) != 64:
                return False
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(signature, message, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())
    except InvalidSignature:
        return False
    return True


def algorithm_of(key: object) -> str | None:
    """The one algorithm that *key* may be used with, or None for a key of another kind or below 2048 bits."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ED25519
    if isinstance(key, ec.EllipticCurvePublicKey):
        return ECDSA_P256 if key.curve.name == "secp256r1" else None
    if isinstance(key, rsa.RSAPublicKey):
        return RSA_PSS if key.key_size >= 2048 else None
    return None


# -- the body ----------------------------------------------------------------------------------------------------------


def read_digests(field: str) -> dict[str, bytes]:
    """The digests of a ``Content-Digest`` field that we can check, by algorithm. ``ValueError`` when there is none."""
    found: dict[str, bytes] = {}
    for name, member in parse_dictionary(field).items():
        if name in _DIGESTS:
            if not isinstance(member, Item) or not isinstance(member.value, bytes):
                raise ValueError("a digest is a byte sequence")
            found[name] = member.value
    if not found:
        raise ValueError("no digest by sha-256 or sha-512")
    return found


def digests_hold(digests: dict[str, bytes], body: bytes) -> bool:
    """Is *body* what every one of *digests* was made of?"""
    return all(hashlib.new(_DIGESTS[name], body).digest() == digest for name, digest in digests.items())
