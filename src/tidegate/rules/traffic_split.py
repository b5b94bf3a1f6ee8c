"""Canary and A/B splits (S23.7, S5.8): which arm a unit belongs to. The same unit sees the same arm, always.

A unit falls into one of 10,000 buckets; a bucket picks its arm by weighted rendezvous: each arm has a fixed number in
(0, 1) for each bucket, and the lowest ``-ln(number) / weight`` wins. Raising one weight lowers the figures of that
arm alone, so the only buckets that move are those it wins. A table of ranges could not promise that with three arms.
The numbers are not random but multiples of irrational roots, spread so evenly that shares are exact to half a percent.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import Final

import xxhash

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.rules.cookies import cookie

BUCKETS: Final = 10_000
COOKIE_AGE: Final = 90 * 86_400
"""Seconds a sealed unit lives in the browser: longer than any sensible experiment."""

_UNIT_BYTES: Final = 16
_SEAL_BYTES: Final = 16
_SEALED_LENGTH: Final = 43
"""Both parts in base64 without padding: 32 bytes."""
_PRIMES: Final = (
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131,
)  # fmt: skip
_GOLDEN: Final = 0.6180339887498949


def bucket(salt: str, unit: str) -> int:
    """0 to 9,999. *salt* is the route's name, so that experiments do not share their victims."""
    return xxhash.xxh3_64_intdigest(f"{salt}\0{unit}".encode("utf-8", "surrogatepass")) % BUCKETS


def choose(weights: Sequence[float], number: int) -> int:
    """The arm of bucket *number*: shares are ``weight / sum``, and 0 gets nothing (S5.8). Raises ``Fault`` 503 when
    no arm has any weight."""
    chosen = -1
    lowest = 0.0
    for arm, weight in enumerate(weights):
        if weight <= 0:
            continue
        # Past 32 arms the roots come again, shifted.
        place = ((number + 0.5) * sqrt(_PRIMES[arm % 32]) + (arm // 32) * _GOLDEN) % 1.0
        figure = -log(place or 1e-9) / weight
        if chosen < 0 or figure < lowest:
            chosen = arm
            lowest = figure
    if chosen < 0:
        raise Fault("upstream_unavailable", "No arm of the split has a weight.")
    return chosen


def unit_of(x: Exchange, by: str) -> str | None:
    """Who the request counts as: ``consumer`` (tenant first), ``ip``, ``path``, ``header:NAME`` or ``cookie:NAME``;
    None when the request has no such thing. ``ValueError`` for any other *by*."""
    if by == "consumer":
        identity = x.identity
        return None if identity is None else f"{identity.tenant}\0{identity.consumer}"
    if by == "ip":
        return x.client_ip
    if by == "path":
        return x.path
    kind, _, name = by.partition(":")
    if kind == "header" and name:
        return x.get(name.lower()) or None
    if kind == "cookie" and name:
        return cookie(x.get("cookie"), name) or None
    raise ValueError("by is one of consumer, ip, path, header:NAME and cookie:NAME")


def issue(key: bytes, chance: bytes) -> str:
    """A sealed cookie value for a new unit: *chance* (16 unpredictable bytes), signed with *key* so that nobody can
    pick a bucket. It says nothing about the client."""
    if len(chance) != _UNIT_BYTES:
        raise ValueError("a unit is 16 bytes")
    return urlsafe_b64encode(chance + _seal(key, chance)).decode("ascii").rstrip("=")


def read(key: bytes, value: str | None) -> str | None:
    """The unit in a sealed cookie *value*, or None when it is missing, malformed or not signed with *key*."""
    if value is None or len(value) != _SEALED_LENGTH or not value.isascii():
        return None
    try:
        raw = urlsafe_b64decode(value + "=")
    except ValueError:
        return None
    # Base64 readers skip foreign letters: a short result is a malformed value.
    if len(raw) != _UNIT_BYTES + _SEAL_BYTES:
        return None
    if not hmac.compare_digest(raw[_UNIT_BYTES:], _seal(key, raw[:_UNIT_BYTES])):
        return None
    return raw[:_UNIT_BYTES].hex()


def _seal(key: bytes, chance: bytes) -> bytes:
    return hmac.digest(key, b"tidegate split unit\0" + chance, "sha256")[:_SEAL_BYTES]


class Splitter:
    """A split, ready to pick arms.

    weights, names   of the arms, in order; a name is what ``force`` accepts (the upstream's)
    salt    the route's name
    by      see :func:`unit_of`; a request without that unit gets a sealed cookie
    key     the gateway's secret for cookies, at least 16 bytes
    token   ``tools.token``
    force   request field (lower case) that names an arm, "" to allow nobody; unknown names are ignored
    """

    def __init__(
        self,
        weights: Sequence[float],
        names: Sequence[str],
        salt: str,
        key: bytes,
        token: Callable[[int], bytes],
        *,
        by: str = "consumer",
        force: str = "",
        cookie_name: str = "tidegate_unit",
    ) -> None:
        if len(key) < 16:
            raise ValueError("the key of sealed cookies has at least 16 bytes")
        self._weights = tuple(weights)
        self._forced: dict[str, int] = {}
        for arm, name in enumerate(names):
            self._forced.setdefault(name, arm)
        self._salt = salt
        self._key = key
        self._token = token
        self._by = by
        self._force = force
        self._cookie_name = cookie_name

    def pick(self, x: Exchange) -> int:
        """The arm's index; may add a ``set-cookie`` to the answer. Raises ``Fault`` 503 when all weights are 0."""
        if self._force:
            forced = self._forced.get(x.get(self._force) or "")
            if forced is not None:
                return forced
        unit = unit_of(x, self._by)
        if unit is None:
            unit = self._sealed_unit(x)
        return choose(self._weights, bucket(self._salt, unit))

    def _sealed_unit(self, x: Exchange) -> str:
        unit = read(self._key, cookie(x.get("cookie"), self._cookie_name))
        if unit is not None:
            return unit
        chance = self._token(_UNIT_BYTES)
        secure = "; Secure" if x.peer.scheme == "https" else ""
        x.add_answer_field(
            "set-cookie",
            f"{self._cookie_name}={issue(self._key, chance)}; Path=/; Max-Age={COOKIE_AGE}; HttpOnly; "
            f"SameSite=Lax{secure}",
        )
        return chance.hex()
