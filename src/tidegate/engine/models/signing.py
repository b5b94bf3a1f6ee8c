"""The credential of one call: which of a provider's keys pays, and how the request says so (LLM 8)."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.engine.models.access_tokens import AccessTokens
from tidegate.engine.models.standing import ModelStates
from tidegate.exchange.fault import GATEWAY, NOT_PROCESSED, Fault
from tidegate.exchange.head import Fields
from tidegate.ports.models import CredentialPlan, ProviderPlan
from tidegate.ports.provider import SigV4
from tidegate.rules.sigv4 import body_hash, skew_of
from tidegate.rules.sigv4 import sign as sigv4_sign


class Signed(NamedTuple):
    """What the credential adds to a request."""

    fields: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]


OPEN = Signed((), ())
TOKENS = frozenset({"gcp", "oauth"})
"""Ways to sign that need a token from elsewhere."""
NO_TOKEN = 1.0
"""Seconds that a credential without its token rests; a token that comes ends it."""


def pick_credential(
    provider: ProviderPlan, model: str, states: ModelStates, now: float
) -> tuple[CredentialPlan | None, float]:
    """The credential whose turn it is among those that do not rest, and 0.0; or the one that is back soonest, and in
    how many seconds. (None, 0.0) for a provider that wants none."""
    credentials = provider.credentials
    if not credentials:
        return None, 0.0
    best: CredentialPlan | None = None
    soonest = 0.0
    count = len(credentials)
    turn = states.turns.get(provider.name, 0) if count > 1 else 0
    for step in range(count):
        credential = credentials[(turn + step) % count]
        wait = max(
            states.cooldowns.ready_in(credential_key(provider, credential), now),
            states.cooldowns.ready_in(credential_model_key(provider, credential, model), now),
        )
        if wait <= 0.0:
            return credential, 0.0
        if best is None or wait < soonest:
            best, soonest = credential, wait
    return best, soonest


def credential_key(provider: ProviderPlan, credential: CredentialPlan | None) -> str:
    """What rests when a credential was refused."""
    return f"{provider.name}|{credential.id if credential is not None else ''}"


def credential_model_key(provider: ProviderPlan, credential: CredentialPlan | None, model: str) -> str:
    """What rests when a credential has asked a model too often."""
    return f"{credential_key(provider, credential)}|{model}"


def token_of(
    provider: ProviderPlan, credential: CredentialPlan | None, tokens: AccessTokens, states: ModelStates, now: float
) -> str:  # fmt: skip
    """The access token that *credential* pays with, "" for one that needs none. One that has not come yet lets the
    credential rest for a moment; control is asked for it."""
    if credential is None or credential.signer not in TOKENS:
        return ""
    key = credential_key(provider, credential)
    token = tokens.get(key)
    if not token:
        states.cooldowns.failed(key, now, delay=NO_TOKEN, longest=NO_TOKEN, at_once=True)
    return token


def sign(credential: CredentialPlan | None, token: str = "", surface: str = "") -> Signed:
    """What to add for *credential* at a door of *surface*, with its access *token* when it is of that kind. Raises
    ``overloaded``, reason ``no_token``, while there is none: then another target may serve."""
    if credential is None or credential.signer == "sigv4":
        return OPEN  # nothing, or over the request as it is sent: ``signed_fields``
    if not credential.signer:
        carried = credential.carried(surface) if credential.elsewhere else credential
        return Signed(carried.fields, carried.query)
    if not token:
        raise Fault("overloaded", "The provider's access token has not come yet.", reason="no_token", side=GATEWAY,
                    retry=NOT_PROCESSED, retry_after=NO_TOKEN)  # fmt: skip
    return Signed((("authorization", f"Bearer {token}"),), ())


def signed_fields(
    credential: CredentialPlan | None, method: str, host: str, target: str, body: bytes, wall: float
) -> Fields:  # fmt: skip
    """The fields of a credential that signs each request, over this very one. Its secret is ``id:secret`` or
    ``id:secret:session token``."""
    if credential is None or credential.signer != "sigv4":
        return []
    access_key, _, rest = credential.secret.partition(":")
    secret, _, token = rest.partition(":")
    service = credential.auth.service if isinstance(credential.auth, SigV4) else "bedrock"
    path, _, query = target.partition("?")
    kind = [("content-type", "application/json")] if body else []
    return sigv4_sign(
        method, host, path, query, kind, body_hash(body), access_key, secret, token, credential.region, service, wall
    )


def learnt_skew(credential: CredentialPlan | None, upstream: str, date: str, states: ModelStates, wall: float) -> bool:
    """After a refusal that told its *date*: whether the upstream's clock differs from what we took it for, so that the
    same call, signed anew, may be taken. Remembered for the calls to come."""
    if credential is None or credential.signer != "sigv4":
        return False
    skew = skew_of(date, wall, states.skews.get(upstream, 0.0))
    if skew is None:
        return False
    states.skews[upstream] = skew
    return True
