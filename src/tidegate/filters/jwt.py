"""``{use: jwt}``: the caller is who a signed token says (RFC 7519, 8725, 9068; S7.10-S7.12).

Algorithm and key come from the config and the key set, never from the token: ``kid`` is a dictionary look-up, and
``jwk``, ``jku``, ``x5u`` and ``x5c`` in a header are not even read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Coroutine
from typing import Annotated, Any, Final, Literal, NamedTuple, NoReturn

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry
from pydantic import BeforeValidator, Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.identity import Identity
from tidegate.ports.settings import Duration, Verifying
from tidegate.ports.tools import Tools
from tidegate.rules.credentials import looks_like_jwt, offer, token_of
from tidegate.rules.failed_logins import refusal, unauthenticated, unavailable
from tidegate.wire.base64url import decode

LONGEST_TOKEN: Final = 8 * 1024
REMEMBERED: Final = 10_000
LIFE: Final = 60.0
"""Seconds a good token is remembered at most (S7.12)."""
ASK_EVERY: Final = 60.0
"""Seconds between two questions for an unknown key: a flood of made-up key ids must not become one of fetches."""
WAIT_FOR_KEY: Final = 1.0
"""Seconds a token with an unknown key id waits for the key set that was asked for (ID3)."""
WAITING: Final = 100
"""Tokens that may wait so at once."""
STEP: Final = 0.0625
MOST_KEYS: Final = 100
SMALLEST_RSA: Final = 2048

Algorithm = Literal["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"]
ASYMMETRIC: Final[tuple[Algorithm, ...]] = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
SYMMETRIC: Final[tuple[Algorithm, ...]] = ("HS256", "HS384", "HS512")

_FITS: Final = {
    "RS256": ("RSA", ""),
    "PS256": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithm → key type and curve."""

Key = RSAKey | ECKey | OKPKey | OctKey


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Config(Verifying):
    """Settings of ``jwt``. Keys come from exactly one of ``jwks``, ``jwks_file``, ``keys`` and ``secret``."""

    issuer: str = Field(min_length=1, description="What `iss` must be, exactly.")
    audience: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="A token must be meant for this audience, or for one of these."
    )
    jwks: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Address of the issuer's key set; fetched by the control process each 10 minutes.",
    )
    jwks_file: str | None = Field(default=None, description="File with a key set, read when the config is loaded.")
    keys: tuple[dict[str, Any], ...] | None = Field(
        default=None, min_length=1, max_length=MOST_KEYS, description="Public keys, each as a JWK."
    )
    secret: str | None = Field(
        default=None,
        description="Shared secret of at least 32 bytes, for HS256, HS384 and HS512. Use a `${...}` reference.",
    )
    algorithms: tuple[Algorithm, ...] | None = Field(
        default=None,
        min_length=1,
        description="Signature algorithms accepted. Default: RS256 PS256 ES256 ES384 EdDSA; with `secret`: HS256.",
    )
    types: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="What `typ` must be. Default: absent, JWT or at+jwt.",
    )
    skew: Duration = Field(default=60.0, le=300, description="How far the issuer's clock may be off.")
    consumer_claim: str = Field(default="sub", min_length=1, description="The claim that names the consumer.")
    tenant_claim: str | None = Field(
        default=None, description="The claim that names the tenant. Default: the consumer's own tenant."
    )
    known_only: bool = Field(default=False, description="Refuse a token whose consumer is not configured.")
    deny_jti: frozenset[str] = Field(default=frozenset(), description="Ids (`jti`) of tokens that are refused.")

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Config:
        sources = [self.jwks, self.jwks_file, self.keys, self.secret]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("name exactly one of jwks, jwks_file, keys and secret")
        fitting = ASYMMETRIC if self.secret is None else SYMMETRIC
        if self.algorithms is not None and not set(self.algorithms) <= set(fitting):
            raise ValueError("HS256, HS384 and HS512 go with secret, and nothing else does")
        return self


class Known(NamedTuple):
    """A good token, remembered: ``until`` monotonic, ``ends`` seconds since the epoch, ``thumbprint`` of the client
    certificate it is bound to (RFC 8705) or ""."""

    identity: Identity
    until: float
    ends: float
    thumbprint: str


class Refused(Exception):
    """The token is not good. What exactly is wrong stays here (S7.2)."""


class UnknownKey(Exception):
    """No key of the set has the token's ``kid``."""


class Jwt:
    """Reads ``Authorization: Bearer``."""

    stage = "auth"
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._config = config
        self._tools = tools
        self._consumers = tools.consumers
        self._key_sets = tools.key_sets
        self._passed = tools.counter("auth_total", method="jwt", outcome="ok")
        self._refused = tools.counter("auth_total", method="jwt", outcome="refused")
        self._algorithms: frozenset[str] = frozenset(
            config.algorithms or (ASYMMETRIC if config.secret is None else ("HS256",))
        )
        self._types = None if config.types is None else frozenset(t.lower() for t in config.types)
        self._keys: dict[str, list[tuple[Key, str]]] = {}
        """Key id ("" for none) → keys, each with the one algorithm it is for or ""."""
        if config.secret is not None:
            secret = tools.secret(config.secret).encode()
            if len(secret) < 32:
                raise ValueError("jwt: the secret has less than 32 bytes")
            self._keys = {"": [(OctKey.import_key(secret), "")]}
        elif config.keys is not None:
            self._keys = _read_keys({"keys": list(config.keys)}, strict=True)
        elif config.jwks_file is not None:
            self._keys = _read_keys(json.loads((tools.config_folder / config.jwks_file).read_bytes()), strict=True)
        self._version = (-1, -1)
        self._asked_at = -math.inf
        self._waiting = 0
        self._remembered: dict[bytes, Known] = {}
        self._ended: dict[bytes, None] = {}
        """Tokens refused as expired: they stay so when the wall clock steps back (AU-expired-clock)."""

    # -- one request -----------------------------------------------------------------------------------------------

    def on_request_head(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        config = self._config
        if config.optional and x.identity is not None:
            return None
        token = token_of(x.head.index.get("authorization"), "bearer")
        if token is None or (config.optional and not looks_like_jwt(token)):
            if config.optional:
                offer(x, "Bearer")
                return None
            self._refused(1)
            raise unauthenticated(("Bearer",))
        self._renew()
        mark = hashlib.sha256(token.encode("latin-1")).digest()
        known = self._remembered.get(mark)
        if known is not None and self._tools.now() < known.until and self._tools.wall() < known.ends:
            self._accept(x, known)
            return None
        try:
            self._accept(x, self._verify(token, mark))
        except Refused:
            self._refuse(x)
        except UnknownKey:
            if not self._ask():
                self._refuse(x)
            return self._wait(x, token, mark)
        return None

    async def _wait(self, x: Exchange, token: str, mark: bytes) -> None:
        """Give the key set that was asked for a moment to come, so that a rotation fails no request (S7.11)."""
        version = self._version
        self._waiting += 1
        try:
            for _ in range(int(WAIT_FOR_KEY / STEP)):
                await self._tools.sleep(STEP)
                self._renew()
                if self._version != version:
                    break
        finally:
            self._waiting -= 1
        try:
            self._accept(x, self._verify(token, mark))
        except (Refused, UnknownKey):
            self._refuse(x)

    def _ask(self) -> bool:
        """Ask for the key set again, at most once a minute; True while an answer may still come."""
        url = self._config.jwks
        if url is None or self._waiting >= WAITING:
            return False
        now = self._tools.now()
        if now - self._asked_at >= ASK_EVERY:
            self._asked_at = now
            self._key_sets.want(url, "")
        return now - self._asked_at < WAIT_FOR_KEY

    def _renew(self) -> None:
        """Take up a new key set; what it or a change of consumers may have made untrue is forgotten."""
        url = self._config.jwks
        version = (self._consumers.epoch(), 0 if url is None else self._key_sets.version(url))
        if version == self._version:
            return
        if url is not None and version[1] != self._version[1]:
            key_set = self._key_sets.get(url)
            self._keys = {} if key_set is None else _read_keys(key_set, strict=False)
        self._version = version
        self._remembered.clear()

    def _accept(self, x: Exchange, known: Known) -> None:
        if known.thumbprint:
            certificate = x.peer.certificate
            if not certificate or decode(known.thumbprint) != hashlib.sha256(certificate).digest():
                self._refuse(x)
        x.identity = known.identity
        x.auth = "jwt"
        if not self._config.forward_credentials:
            x.remove_field("authorization")
        self._passed(1)

    def _refuse(self, x: Exchange) -> NoReturn:
        self._refused(1)
        raise refusal(self._consumers.failures, x, self._tools.now(), self._config.failed_tries, "Bearer")

    # -- one token -------------------------------------------------------------------------------------------------

    def _verify(self, token: str, mark: bytes) -> Known:
        if len(token) > LONGEST_TOKEN or token.count(".") != 2 or mark in self._ended:
            raise Refused
        header_part, claims_part, signature_part = token.split(".")
        signature = decode(signature_part)
        header = _object(header_part)
        if header is None or not signature:
            raise Refused
        self._check_header(header)
        algorithm = JWSRegistry.algorithms[header["alg"]]
        message = f"{header_part}.{claims_part}".encode()
        try:
            if not algorithm.verify(message, signature, self._key_for(header)):
                raise Refused
        except (JoseError, ValueError):
            raise Refused from None
        claims = _object(claims_part)
        if claims is None:
            raise Refused
        return self._remember(mark, claims, self._check_times(mark, claims))

    def _check_header(self, header: dict[str, Any]) -> None:
        algorithm, kind = header.get("alg"), header.get("typ")
        # An extension marked critical is one we do not know, b64 included (RFC 7515 4.1.11).
        if not isinstance(algorithm, str) or algorithm not in self._algorithms or "crit" in header or "b64" in header:
            raise Refused
        if kind is None:
            if self._types is not None:
                raise Refused
        elif not isinstance(kind, str) or kind.lower().removeprefix("application/") not in (
            self._types or ("jwt", "at+jwt")
        ):
            raise Refused

    def _key_for(self, header: dict[str, Any]) -> Key:
        """The one key that may have signed. Without a ``kid`` there must be no choice."""
        algorithm = header["alg"]
        kid = header.get("kid", "")
        if not isinstance(kid, str) or ("kid" in header and not kid):
            raise Refused
        if self._config.secret is not None:
            return self._keys[""][0][0]
        if self._config.jwks is not None and self._key_sets.get(self._config.jwks) is None:
            self._key_sets.want(self._config.jwks, kid)
            raise unavailable()
        pool = self._keys.get(kid) if kid else [pair for pairs in self._keys.values() for pair in pairs]
        if pool is None:
            raise UnknownKey
        fitting = [key for key, only in pool if only in ("", algorithm) and _fits(key, algorithm)]
        if len(fitting) != 1:
            raise Refused
        return fitting[0]

    def _check_times(self, mark: bytes, claims: dict[str, Any]) -> float:
        """When the token ends, once every registered claim is right."""
        config = self._config
        wall = self._tools.wall()
        ends = _number(claims, "exp")
        begins = _number(claims, "nbf")
        _number(claims, "iat")
        token_id = claims.get("jti", "")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if ends is None or claims.get("iss") != config.issuer or not all(isinstance(one, str) for one in audiences):
            raise Refused
        if not isinstance(token_id, str) or token_id in config.deny_jti:
            raise Refused
        if not any(one in config.audience for one in audiences):
            raise Refused
        if begins is not None and begins > wall + config.skew:
            raise Refused
        if ends + config.skew <= wall:
            if len(self._ended) >= REMEMBERED:
                del self._ended[next(iter(self._ended))]
            self._ended[mark] = None
            self._remembered.pop(mark, None)
            raise Refused
        return ends

    def _remember(self, mark: bytes, claims: dict[str, Any], ends: float) -> Known:
        config = self._config
        name = _name(claims.get(config.consumer_claim))
        consumer = self._consumers.by_name(name)
        if (consumer is None and config.known_only) or (consumer is not None and consumer.disabled):
            raise Refused
        tenant = "default" if consumer is None else consumer.tenant
        if config.tenant_claim is not None:
            tenant = _name(claims.get(config.tenant_claim))
        identity = Identity(
            name,
            "jwt",
            tenant=tenant,
            key_id=claims.get("jti", "")[:64],
            tags=frozenset() if consumer is None else frozenset(consumer.tags),
            scopes=_scopes(claims),
            claims=claims,
            priority=-1 if consumer is None else consumer.priority,
        )
        wall = self._tools.wall()
        last = ends if consumer is None or not consumer.expires else min(ends, consumer.expires)
        if consumer is not None and 0.0 < consumer.expires <= wall:
            raise Refused
        known = Known(identity, self._tools.now() + LIFE, last, _thumbprint(claims))
        if last > wall:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[mark] = known
        return known


# -- reading -----------------------------------------------------------------------------------------------------------


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _object(part: str) -> dict[str, Any] | None:
    """The JSON object in one part of a token, or None: UTF-8, no name twice, no NaN."""
    data = decode(part)
    if data is None:
        return None
    try:
        value = json.loads(data.decode(), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate, None when absent; a string or a boolean is none."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e15 < value < 1e15:
        raise Refused
    return float(value)


def _name(value: object) -> str:
    """A claim that becomes part of keys and fields (S7.6)."""
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        raise Refused
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """Granted scopes: ``scope`` (RFC 8693, separated by blanks) or ``scp`` (a list or such a string)."""
    value = claims.get("scope", claims.get("scp", ""))
    names = value.split(" ") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused
    return frozenset(name for name in names if name)


def _thumbprint(claims: dict[str, Any]) -> str:
    """SHA-256 of the client certificate that must come with the token, base64url (RFC 8705), or ""."""
    if "cnf" not in claims:
        return ""
    bound = claims["cnf"]
    if not isinstance(bound, dict):
        raise Refused
    thumbprint = bound.get("x5t#S256", "")
    if not isinstance(thumbprint, str) or ("x5t#S256" in bound and not thumbprint):
        raise Refused
    return thumbprint


def _fits(key: Key, algorithm: str) -> bool:
    kind, curve = _FITS.get(algorithm, ("", ""))
    return key.key_type == kind and (not curve or getattr(key, "curve_name", "") == curve)


def _read_keys(key_set: dict[str, Any], *, strict: bool) -> dict[str, list[tuple[Key, str]]]:
    """The signature keys of *key_set* by id. With *strict* a key that cannot be used is a ``ValueError``; else it is
    left out, as an issuer may list keys that are not for us."""
    found: dict[str, list[tuple[Key, str]]] = {}
    for data in key_set.get("keys", [])[:MOST_KEYS]:
        try:
            if data.get("use", "sig") != "sig" or "verify" not in data.get("key_ops", ["verify"]):
                raise ValueError("not a key for signatures")
            if data.get("kty") not in ("RSA", "EC", "OKP"):
                raise ValueError("not a public key")
            key = import_key({name: value for name, value in data.items() if name != "key_ops"})
            if isinstance(key, RSAKey) and key.raw_value.key_size < SMALLEST_RSA:
                raise ValueError("an RSA key below 2048 bits")
            kid, only = data.get("kid", ""), data.get("alg", "")
            if not isinstance(kid, str) or not isinstance(only, str):
                raise ValueError("kid and alg are strings")
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as trouble:
            if strict:
                raise ValueError(f"jwt: a key cannot be used: {trouble}") from None
            continue
        found.setdefault(kid, []).append((key, only))
    if strict and not found:
        raise ValueError("jwt: the key set holds no key")
    return found
