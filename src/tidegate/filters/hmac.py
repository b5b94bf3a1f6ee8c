"""``{use: hmac}``: the request is signed (RFC 9421, RFC 9530; S7.16). ``keyid`` names a consumer with an ``hmac``
secret, or one of the public keys in the config. A route with this filter gathers request bodies, to check their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.identity import Identity
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.consumers import Consumer
from tidegate.ports.settings import Duration, Verifying
from tidegate.ports.tools import Tools
from tidegate.rules.credentials import offer
from tidegate.rules.failed_logins import refusal, unauthenticated
from tidegate.rules.signatures import (
    HMAC_SHA256,
    SAFE_METHODS,
    PublicKey,
    algorithm_of,
    covers_enough,
    digests_hold,
    is_timely,
    mac_holds,
    nonce_of,
    read_digests,
    signature_base,
    signature_holds,
)
from tidegate.wire.structured_fields import InnerList, Item, parse_dictionary

CHALLENGE: Final = "Signature"
SHORTEST_SECRET: Final = 16


class SigningKey(BaseModel):
    """A public key that signs for a consumer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consumer: str = Field(min_length=1, description="Whose key this is.")
    public_key: str = Field(
        description="The public key in PEM form: Ed25519 (ed25519), P-256 (ecdsa-p256-sha256) or RSA (rsa-pss-sha512)."
    )


class Config(Verifying):
    """Settings of ``hmac``."""

    keys: dict[str, SigningKey] = Field(
        default={},
        description="Public keys by `keyid`. Any other `keyid` is the name of a consumer with a shared secret.",
    )
    label: str | None = Field(
        default=None, description="Which signature of a request counts. Default: the only one; two are refused."
    )
    cover: tuple[str, ...] = Field(
        default=(),
        description="Components a signature must cover besides @method, @authority, @path, @query and, with a body, "
        "content-digest.",
    )
    window: Duration = Field(
        default=300.0, gt=0, le=3600, description="How far `created` may lie in the past or in the future."
    )


class Hmac:
    """Checks ``Signature`` and ``Signature-Input``. A nonce counts once over all workers: it is one unit of a limit."""

    stage = "auth"
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._config = config
        self._tools = tools
        self._consumers = tools.consumers
        self._passed = tools.counter("auth_total", method="hmac", outcome="ok")
        self._refused = tools.counter("auth_total", method="hmac", outcome="refused")
        self._keys: dict[str, tuple[PublicKey, str, str]] = {}
        """keyid → key, its algorithm, consumer."""
        for keyid, signing in config.keys.items():
            key = load_pem_public_key(signing.public_key.encode())
            algorithm = algorithm_of(key)
            if algorithm is None:
                raise ValueError(f"hmac: the key {keyid!r} is no Ed25519, P-256 or RSA key of at least 2048 bits")
            self._keys[keyid] = (key, algorithm, signing.consumer)  # type: ignore[assignment]
        self._nobody = tools.token(32)
        # A signature is accepted for a window on either side of its creation: a nonce is spent for both together. The
        # path is signed, so it cannot be replayed where another filter with another window stands.
        life = max(600.0, 2 * config.window)
        self._nonces = tools.limits.policy(LimitSpec(f"hmac-nonce-{life:g}", "rate", 1, life, on_store_error="deny"))

    # -- the head --------------------------------------------------------------------------------------------------

    def on_request_head(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        if self._config.optional and x.identity is not None:
            return None
        index = x.head.index
        described, sent = index.get("signature-input"), index.get("signature")
        if described is None and sent is None:
            if self._config.optional:
                offer(x, CHALLENGE)
                return None
            self._refused(1)
            raise unauthenticated((CHALLENGE,))
        try:
            signed, signature = self._pick(described or "", sent or "")
            digests = self._digests(x, signed)
            base = signature_base(x, signed)
        except ValueError:
            self._refuse(x)
        nonce = nonce_of(signed)
        consumer, keyid = self._signer(signed, base, signature)
        if (
            consumer is None
            or not covers_enough(x, signed, self._config.cover)
            or not is_timely(signed, self._tools.wall(), self._config.window)
            or nonce is None
            or (not nonce and x.method not in SAFE_METHODS)
        ):
            self._refuse(x)
        if digests:
            x.note(self, digests)
        if not nonce:
            self._accept(x, consumer, keyid)
            return None
        # Hashed together, so that no consumer can spend another's nonces and each takes the same room.
        spent = hashlib.sha256(f"{len(keyid)} {keyid} {nonce}".encode()).hexdigest()
        verdict = self._nonces.take(f"{consumer.tenant}/{spent}")
        if not isinstance(verdict, Verdict):
            return self._first_use(x, consumer, keyid, verdict)
        self._accept_first(x, consumer, keyid, verdict)
        return None

    async def _first_use(
        self, x: Exchange, consumer: Consumer, keyid: str, pending: Coroutine[Any, Any, Verdict]
    ) -> None:
        self._accept_first(x, consumer, keyid, await pending)

    def _accept_first(self, x: Exchange, consumer: Consumer, keyid: str, verdict: Verdict) -> None:
        if not verdict.allowed:
            self._refuse(x)
        self._accept(x, consumer, keyid)

    def _pick(self, described: str, sent: str) -> tuple[InnerList, bytes]:
        """The signature that counts, and what it says it covers. ``ValueError`` when there is no such one."""
        inputs, signatures = parse_dictionary(described), parse_dictionary(sent)
        label = self._config.label
        if label is None:
            (label,) = inputs
            (other,) = signatures
            if other != label:
                raise ValueError("the fields name different signatures")
        signed, signature = inputs.get(label), signatures.get(label)
        if (
            not isinstance(signed, InnerList)
            or not isinstance(signature, Item)
            or not isinstance(signature.value, bytes)
        ):
            raise ValueError("the signature has another form")
        return signed, signature.value

    def _digests(self, x: Exchange, signed: InnerList) -> dict[str, bytes]:
        """What the body must hash to, {} when its digest is not signed."""
        if not any(item.value == "content-digest" for item in signed.items):
            return {}
        if x.head.index.get("content-encoding", "identity") != "identity":
            # The digest is of the coded bytes, and a stage is given the decoded ones (S3.4).
            raise Fault("unsupported_encoding", "A signed body cannot be content-coded here.", side=CLIENT)
        return read_digests(x.head.index.get("content-digest", ""))

    def _signer(self, signed: InnerList, base: str, signature: bytes) -> tuple[Consumer | None, str]:
        """Who signed, or None when the signature does not hold. An unknown key takes as long (S7.2)."""
        keyid, named = signed.params.get("keyid"), signed.params.get("alg")
        if not isinstance(keyid, str):
            return None, ""
        known = self._keys.get(keyid)
        if known is not None:
            key, algorithm, name = known
            holds = signature_holds(key, base, signature)
        else:
            algorithm, name = HMAC_SHA256, keyid
            holds = mac_holds(self._secret(keyid), base, signature)
        consumer = self._consumers.by_name(name)
        if consumer is None or consumer.disabled or 0.0 < consumer.expires <= self._tools.wall():
            return None, ""
        return (consumer if holds and named in (None, algorithm) else None), keyid

    def _secret(self, name: str) -> bytes:
        """The shared secret of consumer *name*, or one that nobody has."""
        secret = (self._consumers.secret_of(name, "hmac") or "").encode()
        if len(secret) >= SHORTEST_SECRET:
            return secret
        if secret:
            self._tools.log("error", "the hmac secret of a consumer has less than 16 bytes", consumer=name)
        return self._nobody

    def _accept(self, x: Exchange, consumer: Consumer, keyid: str) -> None:
        x.identity = Identity(
            consumer.name,
            "hmac",
            tenant=consumer.tenant,
            key_id=keyid,
            tags=frozenset(consumer.tags),
            scopes=frozenset(consumer.scopes),
            priority=consumer.priority,
        )
        x.auth = "hmac"
        if not self._config.forward_credentials:
            x.remove_field("signature")
            x.remove_field("signature-input")
        self._passed(1)

    def _refuse(self, x: Exchange) -> NoReturn:
        self._refused(1)
        raise refusal(self._consumers.failures, x, self._tools.now(), self._config.failed_tries, CHALLENGE)

    # -- the body --------------------------------------------------------------------------------------------------

    def on_request_body(self, x: Exchange, body: bytes) -> None:
        digests = x.noted(self)
        if digests is not None and not digests_hold(digests, body):
            self._refuse(x)
