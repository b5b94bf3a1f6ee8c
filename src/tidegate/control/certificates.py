"""Proof that the certificates of a plan can be used, before any worker is told of it (S3.11, S16.6)."""

from __future__ import annotations

import ssl

from tidegate.engine.downstream.tls import server_context
from tidegate.engine.upstream.upstream import client_context
from tidegate.ports.plan import Plan


def trouble(plan: Plan) -> str:
    """What is wrong with the files of *plan*'s TLS sides, one line each; "" when nothing is. A certificate whose key
    is still the old one is met here: the files of a pair never change at one moment."""
    found: list[str] = []
    for listener in plan.listeners:
        if listener.tls is not None:
            try:
                server_context(listener.tls)
            except (OSError, ValueError) as error:
                found.append(f"listeners: the certificates of {listener.name} cannot be used: {reason(error)}")
    for upstream in plan.upstreams.values():
        # An upstream without files of its own has nothing to prove; a store of the system takes 20 ms to read.
        if upstream.tls.files:
            try:
                client_context(upstream)
            except (OSError, ValueError) as error:
                found.append(f"upstreams: the files under tls of {upstream.name} cannot be used: {reason(error)}")
    return "\n".join(found)


def reason(error: Exception) -> str:
    """In a few words, without the line of a source file that OpenSSL adds."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not what TLS needs").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
