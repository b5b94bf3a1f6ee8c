"""``{use: authorize}``: what a verified caller must be or have (S8.1). It finds nobody out; that is the business of the
authentication filters before it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.identity import Identity
from tidegate.ports.tools import Tools
from tidegate.rules.credentials import offers
from tidegate.rules.failed_logins import unauthenticated

Scope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,256}$")]
"""RFC 6749 3.3; nothing that could break out of a quoted string in a challenge."""


class Config(BaseModel):
    """Settings of ``authorize``. Every rule given must hold; with none, any verified caller passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consumers: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="The caller is one of these consumers."
    )
    tags: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="The caller has at least one of these tags."
    )
    scopes: tuple[Scope, ...] | None = Field(
        default=None,
        min_length=1,
        description="The caller was granted all of these scopes; a missing one is 403 `insufficient_scope`.",
    )
    claims: dict[str, JsonValue] | None = Field(
        default=None,
        min_length=1,
        description="The caller's token has each of these claims with this value, with one of these values when a "
        "list is given. A claim that is itself a list must hold it.",
    )
    shadow: bool = Field(default=False, description="Decide, count and log, but let everybody pass (S8.4).")


class Authorize:
    """Denies unless every rule allows. Without an identity it is 401 with the challenges of optional filters."""

    stage = "authorize"
    stepped = True
    reads_identity = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._consumers = None if config.consumers is None else frozenset(config.consumers)
        self._tags = None if config.tags is None else frozenset(config.tags)
        self._scopes = frozenset(config.scopes or ())
        self._scope_challenge = f'Bearer error="insufficient_scope", scope="{" ".join(config.scopes or ())}"'
        self._claims = [(name, wanted) for name, wanted in (config.claims or {}).items()]
        self._shadow = config.shadow
        self._allowed = tools.counter("auth_total", method="authorize", outcome="ok")
        self._denied = tools.counter(
            "auth_total", method="authorize", outcome="would_deny" if config.shadow else "refused"
        )
        self._log = tools.log

    def on_request_head(self, x: Exchange) -> None:
        fault = self._verdict(x)
        if fault is None:
            self._allowed(1)
            return
        self._denied(1)
        if not self._shadow:
            raise fault
        consumer = "" if x.identity is None else x.identity.consumer
        self._log("info", "authorize would deny", route=x.route, consumer=consumer, code=fault.code)

    def _verdict(self, x: Exchange) -> Fault | None:
        identity = x.identity
        if identity is None:
            return unauthenticated(offers(x) or ("Bearer",))
        if self._consumers is not None and identity.consumer not in self._consumers:
            return _forbidden()
        if self._tags is not None and self._tags.isdisjoint(identity.tags):
            return _forbidden()
        if self._claims and not self._has_claims(identity):
            return _forbidden()
        if not self._scopes <= identity.scopes:
            return Fault(
                "scope",
                "The credential lacks a scope that this needs.",
                side=CLIENT,
                fields=[("www-authenticate", self._scope_challenge)],
            )
        return None

    def _has_claims(self, identity: Identity) -> bool:
        for name, wanted in self._claims:
            if name not in identity.claims:
                return False
            has = identity.claims[name]
            held = has if isinstance(has, list) else [has]
            accepted = wanted if isinstance(wanted, list) else [wanted]
            if not any(_same(one, other) for one in held for other in accepted):
                return False
        return True


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON values: ``true`` is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _forbidden() -> Fault:
    return Fault("forbidden", "The caller may not do this.", side=CLIENT)
