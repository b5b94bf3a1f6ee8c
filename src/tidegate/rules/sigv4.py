"""AWS Signature Version 4: signing a request to a provider, and checking one that boto3 sends to us (LLM 2, 8).

Pure functions over what stands on the wire. Paths are taken as they were sent, escapes and all: outside of S3 the
signature escapes them once more. Time is an argument, in seconds since the epoch.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tidegate.exchange.fault import CLIENT, Fault

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SKEW: Final = 300.0
"""Seconds that a client's clock may differ from ours; a signature is good for so long."""
NOTICED: Final = 60.0
"""Seconds of difference between two clocks that matter: ``Date`` has whole seconds and takes a while to arrive."""
BELIEVED: Final = 86_400.0
"""Seconds of difference that are believed: with more, TLS would not have let us in."""
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""Stands for the hash of a body that TLS protects."""
MOST_SIGNED: Final = 64
"""Fields that a signature may cover."""

GATHERED: Final = "sigv4 body hash"
"""The note on an exchange under which its lane leaves the hash of the body, where signatures are taken."""

_TERMINATOR: Final = "aws4_request"
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z").fullmatch
_PRESENTED: Final = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^\s,]{1,512}),\s*SignedHeaders=([a-z0-9;_-]{1,2048}),\s*Signature=([0-9a-f]{64})"
).fullmatch
_LABEL: Final = b"sigv4\x00"


class Presented(NamedTuple):
    """What an ``Authorization`` field claims. ``signed``: names of the fields covered."""

    access_key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str


def body_hash(body: bytes) -> str:
    """The hash of a whole body as signatures want it."""
    return sha256(body).hexdigest()


def sign(
    method: str,
    host: str,
    path: str,
    query: str,
    fields: Iterable[tuple[str, str]],
    hashed: str,
    access_key: str,
    secret: str,
    token: str,
    region: str,
    service: str,
    moment: float,
) -> list[tuple[str, str]]:
    """The fields to add to a request: ``x-amz-date``, ``x-amz-security-token`` with a session *token*, and
    ``authorization``.

    path, query   as they will be sent, escaped
    fields        those that shall be signed besides ``host`` and the added ones (``content-type``), lower-case names
    hashed        ``body_hash`` of the body, or ``UNSIGNED``
    """
    date = _date_of(moment)
    added = [("x-amz-date", date)]
    if token:
        added.append(("x-amz-security-token", token))
    if hashed == UNSIGNED:
        added.append(("x-amz-content-sha256", UNSIGNED))
    covered = _by_name([("host", host), *fields, *added])
    scope = f"{date[:8]}/{region}/{service}/{_TERMINATOR}"
    request = canonical_request(method, path, query, covered, hashed)
    signature = _signature(secret, scope, date, request)
    added.append(
        (
            "authorization",
            f"{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={';'.join(covered)}, Signature={signature}",
        )
    )
    return added


def skew_of(date: str, moment: float, known: float) -> float | None:
    """Seconds that the clock of who wrote *date* (an IMF-fixdate) is ahead of *moment*; None when that is about what is
    *known* already, or nothing to believe."""
    try:
        skew = parsedate_to_datetime(date).timestamp() - moment
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return skew if abs(skew - known) > NOTICED and abs(skew) < BELIEVED else None


def canonical_request(method: str, path: str, query: str, covered: dict[str, str], hashed: str) -> str:
    """The text under the signature. *covered*: field -> value, sorted by name."""
    lines = [method.upper(), _canonical_path(path), _canonical_query(query)]
    lines += [f"{name}:{value}" for name, value in covered.items()]
    lines += ["", ";".join(covered), hashed]
    return "\n".join(lines)


def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key that one secret has for one day, region and service."""
    key = ("AWS4" + secret).encode()
    for step in (day, region, service, _TERMINATOR):
        key = hmac_digest(key, step.encode(), "sha256")
    return key


# -- a request that comes in -------------------------------------------------------------------------------------------


def presented(authorization: str | None) -> Presented | None:
    """The claim in an ``Authorization`` field; None when it is of another scheme. Raises ``unauthenticated`` for one
    that nobody could check."""
    if authorization is None or not authorization.startswith(ALGORITHM):
        return None
    match = _PRESENTED(authorization.strip())
    scope = match[1].rsplit("/", 4) if match is not None else []
    if match is None or len(scope) != 5 or scope[4] != _TERMINATOR or not scope[0]:
        raise _refused("The signature cannot be read.", "bad_signature")
    signed = tuple(match[2].split(";"))
    if len(signed) > MOST_SIGNED or list(signed) != sorted(set(signed)):
        raise _refused("The signed fields cannot be read.", "bad_signature")
    return Presented(scope[0], scope[1], scope[2], scope[3], signed, match[3])


def verify(
    claim: Presented,
    method: str,
    path: str,
    query: str,
    fields: Iterable[tuple[str, str]],
    hashed: str,
    secret: str,
    moment: float,
    services: frozenset[str] = frozenset(("bedrock",)),
    unsigned: bool = False,
) -> None:
    """Checks that *secret* made the signature over this very request, at most ``SKEW`` seconds ago. Raises
    ``unauthenticated``.

    path, query   as the client sent them, before anything made them canonical
    fields        all fields of the request, lower-case names, in order
    hashed        ``body_hash`` of the body as it came
    services      what the signature may be for; any region is fine
    unsigned      a body that the signature leaves out is fine: it came over TLS
    """
    told = list(fields)
    values = dict(told)
    date = values.get("x-amz-date", "")
    if _DATE(date) is None or date[:8] != claim.day or abs(_moment_of(date) - moment) > SKEW:
        raise _refused("The signature is not of this time.", "signature_expired")
    if claim.service not in services:
        raise _refused("The signature is for another service.", "bad_signature")
    named = frozenset(claim.signed)
    if "host" not in named or any(name.startswith("x-amz-") and name not in named for name, _ in told):
        raise _refused("The signature leaves out a field that it must cover.", "bad_signature")
    covered = _by_name([(name, value) for name, value in told if name in named])
    if len(covered) != len(named):
        raise _refused("The signature covers a field that is not there.", "bad_signature")
    claimed = values.get("x-amz-content-sha256", hashed)
    if claimed != hashed and not (claimed == UNSIGNED and unsigned):
        raise _refused("The body is not the one that was signed.", "bad_signature")
    scope = f"{claim.day}/{claim.region}/{claim.service}/{_TERMINATOR}"
    wanted = _signature(secret, scope, date, canonical_request(method, path, query, covered, claimed))
    if not compare_digest(wanted, claim.signature):
        raise _refused("The signature does not hold.", "bad_signature")


def access_key_of(digest: bytes) -> str:
    """The access key id of a key of the config: a keyed digest's first letters say nothing about the key (LLM 2)."""
    return f"cfg{digest.hex()[:13]}"


def derived_secret(pepper: bytes, key_id: str) -> str:
    """The secret that belongs to a consumer's key *key_id*: shown once, stored nowhere (LLM 2)."""
    return urlsafe_b64encode(hmac_digest(pepper, _LABEL + key_id.encode(), "sha256")).decode().rstrip("=")


# -- pieces ------------------------------------------------------------------------------------------------------------


def _signature(secret: str, scope: str, date: str, request: str) -> str:
    text = f"{ALGORITHM}\n{date}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    day, region, service, _ = scope.split("/")
    return hmac_digest(signing_key(secret, day, region, service), text.encode(), "sha256").hex()


def _by_name(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Field -> value, sorted by name; runs of blanks are one blank, values of one name are joined."""
    found: dict[str, str] = {}
    for name, value in sorted(fields, key=lambda field: field[0]):
        value = " ".join(value.split())
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _canonical_path(path: str) -> str:
    """*path* without dot segments and empty ones, escaped once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment and segment != ".":
            kept.append(segment)
    last = "/" if kept and path.endswith("/") else ""
    return "/" + quote("/".join(kept), safe="/-_.~") + last


def _canonical_query(query: str) -> str:
    """Names and values escaped in the one way, sorted."""
    if not query:
        return ""
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        pairs.append((_escaped(name), _escaped(value)))
    return "&".join([f"{name}={value}" for name, value in sorted(pairs)])


def _escaped(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def _date_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")


def _moment_of(date: str) -> float:
    """Seconds since the epoch; -1e9 for a date that no calendar has."""
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return -1e9


def _refused(detail: str, reason: str) -> Fault:
    return Fault("unauthenticated", detail, reason=reason, side=CLIENT)
