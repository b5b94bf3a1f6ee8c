"""``{use: api_key}``: the caller is who the API key says (S7.8, S7.9)."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.identity import Identity
from tidegate.ports.consumers import Consumer
from tidegate.ports.settings import Verifying
from tidegate.ports.tools import Tools
from tidegate.rules.credentials import key_in_query, looks_like_jwt, offer, token_of
from tidegate.rules.failed_logins import refusal, unauthenticated, unavailable
from tidegate.rules.sigv4 import ALGORITHM, GATHERED, presented, verify

REMEMBERED: Final = 1024
"""Identities remembered by one filter; a forgotten one costs a look-up in ``tools.consumers``, 1 µs."""


class Config(Verifying):
    """Settings of ``api_key``."""


class ApiKey:
    """Reads ``Authorization: Bearer`` and ``x-api-key``. A query never carries a key. On routes to models a request may
    be signed in place of carrying a key (AWS Signature Version 4; LLM 2)."""

    stage = "auth"
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._optional = config.optional
        self._forward = config.forward_credentials
        self._failed_tries = config.failed_tries
        self._tools = tools
        self._consumers = tools.consumers
        self._now = tools.now
        self._wall = tools.wall
        self._passed = tools.counter("auth_total", method="api_key", outcome="ok")
        self._refused = tools.counter("auth_total", method="api_key", outcome="refused")
        self._nobody = tools.token(32).hex()
        """The secret of keys that are not there: an unknown one takes as long (S7.2)."""
        self._epoch = -1
        self._remembered: dict[str, tuple[Identity, float]] = {}

    def on_request_head(self, x: Exchange) -> None:
        if self._optional and x.identity is not None:
            return
        index = x.head.index
        key = index.get("x-api-key")
        authorization = index.get("authorization")
        if authorization is not None:
            bearer = authorization[7:] if authorization[:7] == "Bearer " else token_of(authorization, "bearer")
            if key is None:
                key = bearer
            elif bearer is not None and bearer != key:
                raise Fault(
                    "bad_request",
                    "The request carries two different credentials.",
                    reason="ambiguous_credentials",
                    side=CLIENT,
                )
        if key is None:
            if authorization is not None and authorization.startswith(ALGORITHM):
                self._by_signature(x, authorization)
            else:
                self._without_key(x)
            return
        if self._epoch != self._consumers.epoch():
            self._remembered.clear()
            self._epoch = self._consumers.epoch()
        known = self._remembered.get(key)
        if known is None or (known[1] and self._wall() >= known[1]):
            known = self._look_up(x, key)
            if known is None:
                return
        x.identity = known[0]
        x.auth = "api_key"
        if not self._forward:
            if "x-api-key" in index:
                x.remove_field("x-api-key")
            if authorization is not None and authorization[:7].lower() == "bearer ":
                x.remove_field("authorization")
        self._passed(1)

    def _without_key(self, x: Exchange) -> None:
        if self._optional and not key_in_query(x.query):
            offer(x, "Bearer")
            return
        self._refused(1)
        raise unauthenticated(("Bearer",))

    def _by_signature(self, x: Exchange, authorization: str) -> None:
        hashed: str | None = x.noted(GATHERED)
        if hashed is None:
            self._without_key(x)  # signatures of plain routes are their upstream's business
            return
        try:
            claim = presented(authorization)
            known = self._consumers.by_access_key(claim.access_key) if claim is not None else None
            if claim is not None:
                path, _, query = x.head.target.partition("?")
                secret = known[1] if known is not None else self._nobody
                verify(claim, x.head.method, path, query, x.head.fields, hashed, secret, self._wall())
        except Fault as fault:
            if fault.code != "unauthenticated":
                raise
            known = None
        except (Exception, CancelledError) as trouble:
            self._tools.log("error", "key look-up failed", error=type(trouble).__name__)
            raise unavailable() from None
        if known is None:
            self._refused(1)
            raise refusal(self._consumers.failures, x, self._now(), self._failed_tries, "Bearer")
        x.identity = _identity(known[0])
        x.auth = "api_key"
        if not self._forward:
            x.remove_field("authorization")
        self._passed(1)

    def _look_up(self, x: Exchange, key: str) -> tuple[Identity, float] | None:
        try:
            consumer = self._consumers.by_key(key)
        except Fault:
            raise
        except (Exception, CancelledError) as trouble:
            # Nothing is awaited here, so a CancelledError is a failed store and not our own end (S7.4, ID1).
            self._tools.log("error", "key look-up failed", error=type(trouble).__name__)
            raise unavailable() from None
        if consumer is None:
            self._remembered.pop(key, None)
            if self._optional and looks_like_jwt(key):
                offer(x, "Bearer")
                return None
            self._refused(1)
            raise refusal(self._consumers.failures, x, self._now(), self._failed_tries, "Bearer")
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        known = (_identity(consumer), consumer.expires)
        self._remembered[key] = known
        return known


def _identity(consumer: Consumer) -> Identity:
    return Identity(
        consumer.name,
        "api_key",
        tenant=consumer.tenant,
        key_id=consumer.key_id,
        tags=frozenset(consumer.tags),
        scopes=frozenset(consumer.scopes),
        priority=consumer.priority,
    )
