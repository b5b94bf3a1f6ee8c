"""Access tokens of providers that sell no keys: what to ask a token endpoint, and what its answer means (LLM 8).

Two ways: a service account signs who it is (RFC 7523), a client names itself and its secret (RFC 6749 4.4). Fetching,
time and chance are the caller's. Nothing in here is ever logged: messages of errors hold no secret.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tidegate.wire.base64url import encode

ASSERTED: Final = 3600
"""Seconds for which a service account's assertion is good: the most its vendor takes."""
UNTOLD_LIFE: Final = 300.0
"""Seconds a token lives whose answer does not say: the shortest that vendors give."""
SHORTEST_LIFE: Final = 10.0
LONGEST_LIFE: Final = 86_400.0

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FORM: Final = "application/x-www-form-urlencoded"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}").fullmatch
_ERROR: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}").fullmatch
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Grant(NamedTuple):
    """Where a token comes from.

    kind    ``account``: *secret* is the JSON of a service account, which may name another *url*; ``client``: it is
            ``id:secret``, sent in the form or, *basic*, in ``Authorization``
    unique  a field that wants an id of its own for each request, "" for none
    """

    kind: Literal["account", "client"]
    url: str
    scope: str
    secret: str
    basic: bool = False
    unique: str = ""


class Asking(NamedTuple):
    """One POST to a token endpoint."""

    url: str
    fields: dict[str, str]
    body: bytes


class Token(NamedTuple):
    """``life``: seconds from now."""

    value: str
    life: float


def asking(grant: Grant, wall: float, unique: str) -> Asking:
    """What to send for *grant*. *wall*: seconds since the epoch; *unique*: an id that no request had before.
    ``ValueError`` says what the credential lacks, without a letter of it."""
    return _for_account(grant, wall) if grant.kind == "account" else _for_client(grant, unique)


def _for_account(grant: Grant, wall: float) -> Asking:
    try:
        account = msgspec.json.decode(grant.secret)
    except (ValueError, RecursionError):
        account = None
    if not isinstance(account, dict):
        raise ValueError("the service account is not a JSON object")
    url = _safe(_text(account, "token_uri") or grant.url)
    kind = _text(account, "type")
    if kind == "authorized_user":
        form = {"grant_type": "refresh_token"}
        for name in ("client_id", "client_secret", "refresh_token"):
            form[name] = _needed(account, name)
        return _posted(url, form)
    if kind not in ("", "service_account"):
        raise ValueError("the account is neither a service_account nor an authorized_user")
    issuer, pem = _needed(account, "client_email"), _needed(account, "private_key")
    # Imported late: it takes long to load, control needs it at once after its death, and few have such an account.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("private_key of the service account is no PEM key") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("private_key of the service account is no RSA key")
    head = {"alg": "RS256", "typ": "JWT"}
    if account.get("private_key_id"):
        head["kid"] = _text(account, "private_key_id")
    issued = int(wall)
    claims = {"iss": issuer, "scope": grant.scope, "aud": url, "iat": issued, "exp": issued + ASSERTED}
    text = f"{encode(msgspec.json.encode(head))}.{encode(msgspec.json.encode(claims))}"
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return _posted(url, {"grant_type": _JWT_BEARER, "assertion": f"{text}.{encode(signature)}"})


def _for_client(grant: Grant, unique: str) -> Asking:
    name, colon, word = grant.secret.partition(":")
    form = {"grant_type": "client_credentials"}
    if grant.scope:
        form["scope"] = grant.scope
    fields: dict[str, str] = {}
    if grant.basic:
        pair = base64.b64encode(f"{quote(name, safe='~')}:{quote(word, safe='~')}".encode()).decode()
        fields["authorization"] = f"Basic {pair if colon else grant.secret}"
    elif not (name and word):
        raise ValueError("client credentials are written id:secret")
    else:
        form["client_id"], form["client_secret"] = name, word
    if grant.unique:
        fields[grant.unique] = unique
    asked = _posted(_safe(grant.url), form)
    return asked._replace(fields={**asked.fields, **fields})


def read_token(status: int, body: bytes, wall: float) -> Token:
    """The token in a token endpoint's answer. ``ValueError`` says why there is none: the vendor's own error word when
    it looks like one, nothing else of the answer."""
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if status != 200:
        word = answer.get("error")
        told = f": {word}" if isinstance(word, str) and _ERROR(word) else ""
        raise ValueError(f"the token endpoint answers {status}{told}")
    value = answer.get("access_token")
    if not isinstance(value, str) or not _TOKEN(value):
        raise ValueError("the token endpoint's answer holds no access_token")
    life = _number(answer.get("expires_in"))
    if life <= 0.0:
        ends = _number(answer.get("expires_at"))
        life = (ends / 1000.0 if ends > 1e11 else ends) - wall if ends > 0.0 else UNTOLD_LIFE
    return Token(value, min(max(life, SHORTEST_LIFE), LONGEST_LIFE))


def _posted(url: str, form: dict[str, str]) -> Asking:
    return Asking(url, {"content-type": _FORM, "accept": "application/json"}, urlencode(form).encode())


def _safe(url: str) -> str:
    """*url*, when a secret may be sent there: over TLS, or within this machine."""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and not parts.username and not parts.fragment
    except ValueError:
        good = False
    if not good or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise ValueError("the token endpoint must be an https address")
    return url


def _needed(account: dict[str, Any], name: str) -> str:
    found = _text(account, name)
    if not found:
        raise ValueError(f"the account has no {name}")
    return found


def _text(account: dict[str, Any], name: str) -> str:
    found = account.get(name)
    return found if isinstance(found, str) else ""


def _number(value: object) -> float:
    """A count of seconds that some vendors write as text; 0.0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return float(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 1e15 else 0.0
