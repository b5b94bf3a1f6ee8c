"""``{use: basic}``: user name and password (RFC 7617, UTF-8; S7.17). The user is a consumer with a ``basic`` secret, an
argon2id hash. Checking one takes tens of milliseconds on a thread; a good pair is remembered for a minute."""

from __future__ import annotations

import hmac
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.identity import Identity
from tidegate.ports.settings import Verifying
from tidegate.ports.tools import Tools
from tidegate.rules.credentials import basic_pair, offer, token_of
from tidegate.rules.failed_logins import refusal, unauthenticated, unavailable

THREADS: Final = 4
"""Argon2id takes 64 MiB and four lanes a check: more at once would hurt the data path."""
REMEMBERED: Final = 10_000
LIFE: Final = 60.0
"""Seconds a good pair is remembered (S7.17)."""
NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$dGlkZWdhdGUtbm9ib2R5IQ$q1PbFzbBPAZqJ4b8V8kzqBwTgB2wz0D0v4n5nq1m3uE"
"""What an unknown user's password is checked against, so that it takes as long (S7.2). No password fits."""


class Config(Verifying):
    """Settings of ``basic``."""

    realm: str = Field(
        default="tidegate", pattern=r"^[ !#-\[\]-~]{1,64}$", description="The realm that the challenge names."
    )
    allow_insecure: bool = Field(
        default=False, description="Accept passwords on listeners without TLS. Otherwise such a config is refused."
    )


class Basic:
    """Reads ``Authorization: Basic``."""

    stage = "auth"
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        if tools.cleartext and not config.allow_insecure:
            raise ValueError("basic: a listener without TLS leads here; use TLS, or set allow_insecure: true")
        self._config = config
        self._tools = tools
        self._consumers = tools.consumers
        self._challenge = f'Basic realm="{config.realm}", charset="UTF-8"'
        self._passed = tools.counter("auth_total", method="basic", outcome="ok")
        self._refused = tools.counter("auth_total", method="basic", outcome="refused")
        self._hasher = PasswordHasher()
        self._secret = tools.token(32)
        self._epoch = -1
        self._remembered: dict[bytes, tuple[Identity, float]] = {}
        """HMAC of the pair under a secret of this process → identity and the second it is checked again."""

    def on_request_head(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        if self._config.optional and x.identity is not None:
            return None
        token = token_of(x.head.index.get("authorization"), "basic")
        if token is None:
            if self._config.optional:
                offer(x, self._challenge)
                return None
            self._refused(1)
            raise unauthenticated((self._challenge,))
        pair = basic_pair(token)
        if pair is None:
            self._refuse(x)
        if self._epoch != self._consumers.epoch():
            self._remembered.clear()
            self._epoch = self._consumers.epoch()
        mark = hmac.digest(self._secret, token.encode("latin-1"), "sha256")
        known = self._remembered.get(mark)
        if known is not None and self._tools.now() < known[1]:
            self._accept(x, known[0])
            return None
        return self._check(x, mark, *pair)

    async def _check(self, x: Exchange, mark: bytes, user: str, password: str) -> None:
        epoch = self._consumers.epoch()
        consumer = self._consumers.by_name(user)
        stored = self._consumers.secret_of(user, "basic") if consumer is not None else None
        good = await self._tools.offload(self._matches, stored or NOBODY, password, pool="argon2", size=THREADS)
        if good is None:
            self._tools.log("error", "the basic secret of a consumer is no argon2 hash", consumer=user)
            raise unavailable()
        expired = consumer is not None and 0.0 < consumer.expires <= self._tools.wall()
        if not good or stored is None or consumer is None or consumer.disabled or expired:
            self._refuse(x)
        identity = Identity(
            consumer.name,
            "basic",
            tenant=consumer.tenant,
            key_id=consumer.key_id,
            tags=frozenset(consumer.tags),
            scopes=frozenset(consumer.scopes),
            priority=consumer.priority,
        )
        # While the thread worked, the password may have been changed: then this verdict is used once, not kept.
        if epoch == self._consumers.epoch() == self._epoch:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            life = LIFE if consumer.expires == 0.0 else min(LIFE, consumer.expires - self._tools.wall())
            self._remembered[mark] = (identity, self._tools.now() + life)
        self._accept(x, identity)

    def _matches(self, stored: str, password: str) -> bool | None:
        """Does *password* fit the hash? None when the hash is none. Runs on a thread."""
        try:
            return self._hasher.verify(stored, password)
        except InvalidHashError:
            return None
        except VerificationError:
            return False

    def _accept(self, x: Exchange, identity: Identity) -> None:
        x.identity = identity
        x.auth = "basic"
        if not self._config.forward_credentials:
            x.remove_field("authorization")
        self._passed(1)

    def _refuse(self, x: Exchange) -> NoReturn:
        self._refused(1)
        raise refusal(self._consumers.failures, x, self._tools.now(), self._config.failed_tries, self._challenge)
