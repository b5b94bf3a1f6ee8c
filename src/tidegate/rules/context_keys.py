"""Keys of kept conversations, each sealed under the next: an item's under its context's, that one under its tenant's,
that one under the root key (CRP 10). Destroying a key destroys what is under it, wherever its bytes still lie.

AES-256-GCM throughout. What a ciphertext belongs to is its associated data, so that none opens in another place. Chance
is an argument: a function that draws so many unpredictable bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from tidegate.exchange.context import Privacy
from tidegate.exchange.context_log import Payload
from tidegate.wire.context_entry import BrokenEntry, Seal, Unseal

Chance = Callable[[int], bytes]

KEY: Final = 32
"""Bytes of every key."""
PLAIN: Final[frozenset[Privacy]] = frozenset(("public", "internal"))
"""Classes whose contents are kept as they are."""

_NONCE: Final = 12
_NUMBER: Final = 4
_ONCE: Final = bytes(_NONCE)
"""The nonce of a content: its key seals nothing else."""


class WrongKey(ValueError):
    """A sealed key does not open: another root key, another tenant or context, or damage."""


@cache
def _gcm() -> Any:
    """Loaded at the first use: most gateways keep no contexts."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM


@cache
def _invalid() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag


# -- keys of tenants and contexts --------------------------------------------------------------------------------------


def new_tenant_key(root: bytes, tenant: str, number: int, chance: Chance) -> bytes:
    """A new key of *tenant*, its *number*-th (from 1), sealed under *root* (32 bytes)."""
    return _wrapped(root, b"tenant/%b/%d" % (tenant.encode(), number), number, chance(KEY), chance)


def open_tenant_key(root: bytes, tenant: str, sealed: bytes) -> bytes:
    """The key in *sealed*. ``WrongKey``."""
    return _opened(root, b"tenant/%b/%d" % (tenant.encode(), number_of(sealed)), sealed)


def new_context_key(key: bytes, number: int, tenant: str, salt: bytes, chance: Chance) -> bytes:
    """A new key of the context that *salt* belongs to, sealed under the *number*-th key of *tenant*."""
    return _wrapped(key, b"context/%b/%b" % (tenant.encode(), salt), number, chance(KEY), chance)


def open_context_key(key: bytes, tenant: str, salt: bytes, sealed: bytes) -> bytes:
    """The key in *sealed*. ``WrongKey``."""
    return _opened(key, b"context/%b/%b" % (tenant.encode(), salt), sealed)


def number_of(sealed: bytes) -> int:
    """Which key of the tenant *sealed* is, or is sealed under."""
    return int.from_bytes(sealed[:_NUMBER], "big")


def _wrapped(key: bytes, about: bytes, number: int, inner: bytes, chance: Chance) -> bytes:
    nonce = chance(_NONCE)
    sealed: bytes = _gcm()(key).encrypt(nonce, inner, about)
    return number.to_bytes(_NUMBER, "big") + nonce + sealed


def _opened(key: bytes, about: bytes, sealed: bytes) -> bytes:
    try:
        opened: bytes = _gcm()(key).decrypt(sealed[_NUMBER : _NUMBER + _NONCE], sealed[_NUMBER + _NONCE :], about)
    except (_invalid(), ValueError) as error:
        raise WrongKey("a key does not open: is root.key the one it was sealed under?") from error
    return opened


# -- contents ----------------------------------------------------------------------------------------------------------


def sealer(key: bytes, tenant: str, context: str, chance: Chance) -> Seal:
    """How contents of *context*, whose key is *key*, become payloads: those of class ``personal`` and above under a key
    of their own, the others as they are."""
    gcm = _gcm()
    outer = gcm(key)
    place = f"{tenant}/{context}/"

    def seal(item: str, rev: int, privacy: Privacy, packed: bytes) -> Payload:
        if privacy in PLAIN:
            return Payload(item, rev, chance(16), packed)
        about = f"{place}{item}/{rev}".encode()
        drawn = chance(16 + KEY + _NONCE)
        own, nonce = drawn[16 : 16 + KEY], drawn[16 + KEY :]
        return Payload(item, rev, drawn[:16], gcm(own).encrypt(_ONCE, packed, about),
                       nonce + outer.encrypt(nonce, own, about))  # fmt: skip

    return seal


def unsealer(key: bytes, tenant: str, context: str) -> Unseal:
    """How payloads of *context* are read. ``BrokenEntry`` for one that was sealed elsewhere or changed since."""
    gcm, invalid = _gcm(), _invalid()
    outer = gcm(key)
    place = f"{tenant}/{context}/"

    def unseal(payload: Payload) -> bytes:
        ikey = payload.ikey
        if not ikey:
            return payload.body
        about = f"{place}{payload.item}/{payload.rev}".encode()
        try:
            own = outer.decrypt(ikey[:_NONCE], ikey[_NONCE:], about)
            opened: bytes = gcm(own).decrypt(_ONCE, payload.body, about)
        except (invalid, ValueError) as error:
            raise BrokenEntry(f"the content of {payload.item} does not open") from error
        return opened

    return unseal
