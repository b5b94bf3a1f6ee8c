"""The door of the admin listener: who is there is settled before anything is read (C3.2).

Pure ASGI around the whole app, so that no route, known or unknown, can be reached around it. Cookies mean nothing
here. What is open is named in one place; everything else needs the token (ID1).
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.control.admin.problem import problem
from tidegate.control.admin.token import matches

OPEN: Final = frozenset({"/healthz", "/livez", "/readyz"})
"""Open to everybody who reaches the listener (S23.4)."""
METRICS: Final = "/metrics"
LONGEST_BODY: Final = 1 << 20
"""Bytes of a request body; nothing here needs more."""

_FIELDS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]


class Door:
    """*token* opens everything. *trusted*: whoever gets here is the platform's own user (the Unix socket).
    *open_metrics*: a loopback address, where ``/metrics`` needs no token (ARCHITECTURE 11)."""

    def __init__(self, app: ASGIApp, token: str = "", trusted: bool = False, open_metrics: bool = False) -> None:
        self.app = app
        self.token = token
        self.trusted = trusted
        self.open = OPEN | {METRICS} if open_metrics else OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No WebSockets and no lifespan here; ending without an answer refuses either.
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_FIELDS]
            await send(message)

        refusal = None
        if not self.trusted and scope["path"] not in self.open and not self._knows(scope):
            challenge = {"www-authenticate": 'Bearer realm="tidegate admin"'}
            refusal = problem("unauthenticated", "", challenge)
        elif too_long(scope):
            refusal = problem("body_too_large", f"A body here is at most {LONGEST_BODY} bytes.")
        if refusal is not None:
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _knows(self, scope: Scope) -> bool:
        found = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(found) == 1 and matches(self.token, found[0].decode("latin-1"))


def too_long(scope: Scope) -> bool:
    """Whether the announced body is over the bound, or of unknown length: no caller of ours sends such."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return not value.isdigit() or len(value) > 9 or int(value) > LONGEST_BODY
        if name == b"transfer-encoding":
            return True
    return False
