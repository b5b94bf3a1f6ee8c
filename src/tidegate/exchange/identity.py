"""Who is calling. Only a verifier (an authentication filter) may build an ``Identity``; ``tests/house`` holds the
list of files that do. A failed check raises a Fault and never leaves an empty identity behind (RELIABILITY ID1)."""

from __future__ import annotations

from typing import Any


class Identity:
    """A verified caller.

    tenant    first element of every key (invariant 8); ``"default"`` when the config names none
    consumer  the consumer's name: config key, JWT subject, certificate name
    key_id    which credential of the consumer it was (never the credential)
    method    ``api_key jwt basic hmac mtls``
    tags      the consumer's tags from the config
    scopes    granted scopes
    claims    verified token claims, {} for others
    priority  priority level of the consumer (S22.2), or -1 when not set
    """

    __slots__ = ("claims", "consumer", "key_id", "method", "priority", "scopes", "tags", "tenant")

    def __init__(
        self,
        consumer: str,
        method: str,
        *,
        tenant: str = "default",
        key_id: str = "",
        tags: frozenset[str] = frozenset(),
        scopes: frozenset[str] = frozenset(),
        claims: dict[str, Any] | None = None,
        priority: int = -1,
    ) -> None:
        self.tenant = tenant
        self.consumer = consumer
        self.key_id = key_id
        self.method = method
        self.tags = tags
        self.scopes = scopes
        self.claims: dict[str, Any] = claims if claims is not None else {}
        self.priority = priority

    def __repr__(self) -> str:
        return f"<Identity {self.tenant}/{self.consumer} by {self.method}>"
