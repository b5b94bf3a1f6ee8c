"""The admin API without a socket: a desk that says what it is told, and requests straight into the app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from tidegate.control.admin.app import guarded, make_app
from tidegate.control.admin.desk import Outcome, Readiness
from tidegate.control.bookkeeper import Usage

TOKEN = "tga_0123456789abcdef"


class Answered(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class FakeDesk:
    """Says what it is told; ``calls`` counts who was let in."""

    def __init__(self) -> None:
        self.alive = True
        self.found = Readiness(True)
        self.outcome = Outcome("applied", 7, 2, 2, 0.0125)
        self.trouble: Exception | None = None
        self.used = Usage([], 5.0)
        self.pairs: list[dict[str, Any]] | None = None
        self.calls: list[str] = []

    def live(self) -> bool:
        return self.alive

    def readiness(self) -> Readiness:
        return self.found

    async def metrics_text(self) -> str:
        self.calls.append("metrics")
        return "tidegate_x 1\n"

    async def status(self) -> dict[str, Any]:
        self.calls.append("status")
        if self.trouble is not None:
            raise self.trouble
        return {"generation": 7}

    async def reload(self, by: str) -> Outcome:
        self.calls.append(f"reload by {by}")
        return self.outcome

    async def usage(self, begin: str, end: str, by: Sequence[str], bucket: str, reprice: bool = False) -> Usage:
        self.calls.append(f"usage {begin} {end} {','.join(by)} {bucket}" + " reprice" * reprice)
        return self.used

    async def signing_keys(self, consumer: str) -> list[dict[str, Any]] | None:
        self.calls.append(f"keys of {consumer}")
        return self.pairs


def send_request(app: Any, method: str, path: str, fields: list[tuple[str, str]] | None = None) -> Answered:
    """One request through *app*."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields or []],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 9080),
    }  # fmt: skip
    try:
        asyncio.run(app(scope, receive, send))
    except RuntimeError:
        # Starlette raises an unexpected error again after its answer, for the server's log.
        assert sent
    start = sent[0]
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answered(start["status"], answered, b"".join(m.get("body", b"") for m in sent[1:]))


@pytest.fixture
def desk() -> FakeDesk:
    """What the routers talk to."""
    return FakeDesk()


@pytest.fixture
def door(desk: FakeDesk) -> Any:
    """The app as the TCP listener on loopback has it; its token is ``token``."""
    return guarded(make_app(desk), TOKEN, on_loopback=True)


@pytest.fixture
def bearer() -> list[tuple[str, str]]:
    """The field that opens ``door``."""
    return [("authorization", f"Bearer {TOKEN}")]


@pytest.fixture
def call() -> Callable[..., Answered]:
    """``call(app, method, path, fields)`` sends one request."""
    return send_request
