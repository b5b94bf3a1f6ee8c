"""The credential of one call: which of a provider's keys pays, and how the request says so (LLM 8)."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.engine.models.standing import ModelStates
from tidegate.exchange.fault import GATEWAY, Fault
from tidegate.exchange.head import Fields
from tidegate.ports.models import CredentialPlan, ProviderPlan
from tidegate.ports.provider import SigV4
from tidegate.rules.sigv4 import body_hash
from tidegate.rules.sigv4 import sign as sigv4_sign


class Signed(NamedTuple):
    """What the credential adds to a request."""

    fields: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]


OPEN = Signed((), ())


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
    for step in range(count):
        credential = credentials[(states.turn + step) % count]
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


def sign(credential: CredentialPlan | None) -> Signed:
    """What to add for *credential*."""
    if credential is None:
        return OPEN
    if credential.signer == "sigv4":
        return OPEN  # over the request as it is sent: ``signed_fields``
    if credential.signer:
        raise Fault("upstream_unavailable", "This provider's way to sign is not served yet.", reason="signer",
                    side=GATEWAY)  # fmt: skip
    return Signed(credential.fields, credential.query)


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
