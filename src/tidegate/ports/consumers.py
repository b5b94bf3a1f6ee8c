"""Who may call: the key table and the key sets, as parts see them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from tidegate.rules.failed_logins import FailedLogins


class Consumer(msgspec.Struct, frozen=True, gc=False):
    """One credential's owner. ``expires`` in seconds since the epoch, 0 for never."""

    name: str
    tenant: str = "default"
    key_id: str = ""
    tags: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    priority: int = -1
    expires: float = 0.0
    disabled: bool = False


class Consumers(Protocol):
    """The worker's view of consumers and keys. Keys are digests; nothing here holds one in clear at rest."""

    failures: FailedLogins
    """Failing tries by client address, shared by every authentication filter of the worker (S7.7)."""

    def epoch(self) -> int:
        """Changes whenever any key or consumer changed: what was remembered before is void."""

    def by_key(self, key: str) -> Consumer | None:
        """The owner of an API key (S7.8), or None when unknown, expired or disabled. Raises ``Fault``
        ``auth_unavailable`` when the table cannot be trusted any more (S7.4)."""

    def by_name(self, name: str) -> Consumer | None:
        """A consumer by name (Basic, mTLS, JWT and HMAC map to it); the caller looks at ``disabled``. Raises as
        ``by_key``."""

    def by_access_key(self, id: str) -> tuple[Consumer, str] | None:
        """The owner of the key whose access key id (LLM 2) is *id*, and the secret that signs for it; None when it is
        unknown, expired or disabled. Raises as ``by_key``."""

    def secret_of(self, name: str, kind: str) -> str | None:
        """A configured secret of a consumer: ``kind`` is ``basic`` (argon2id hash) or ``hmac`` (shared secret)."""


class KeySets(Protocol):
    """JWKS by URL, fetched once per node by control and pushed (S7.11)."""

    def get(self, url: str) -> dict[str, Any] | None:
        """The key set as last fetched, or None when there is none within its life (answer 503)."""

    def want(self, url: str, kid: str) -> None:
        """Tell control that *kid* is unknown: at most one extra fetch a minute and issuer follows."""

    def version(self, url: str) -> int:
        """Changes whenever the set changed."""
