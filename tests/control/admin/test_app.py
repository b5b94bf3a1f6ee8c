"""The admin API without a socket: routes, the door around them, and problems (S23.4, C3, ID1, ID6)."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import msgspec
import pytest
from starlette.routing import Route

from tidegate.control.admin.app import guarded, make_app, trusted
from tidegate.control.admin.desk import Outcome, Readiness
from tidegate.control.admin.door import OPEN

TOKEN = "tga_0123456789abcdef"
BEARER = [("authorization", f"Bearer {TOKEN}")]


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


def call(app: Any, method: str, path: str, fields: list[tuple[str, str]] | None = None) -> Answered:
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
    return FakeDesk()


@pytest.fixture
def door(desk: FakeDesk) -> Any:
    return guarded(make_app(desk), TOKEN, on_loopback=True)


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
def test_anybody_may_ask_whether_we_live(door: Any, desk: FakeDesk, path: str) -> None:
    answer = call(door, "GET", path)
    assert (answer.status, answer.json()) == (200, {"status": "alive"})
    desk.alive = False
    answer = call(door, "GET", path)
    assert (answer.status, answer.fields["retry-after"]) == (503, "1")


def test_ready_degraded_and_not_ready_are_told_apart(door: Any, desk: FakeDesk) -> None:
    assert call(door, "GET", "/readyz").json() == {"status": "ready", "reasons": []}
    desk.found = Readiness(True, ("1 of 2 workers are ready",))
    answer = call(door, "GET", "/readyz")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    desk.found = Readiness(False, ("the gateway is stopping",))
    answer = call(door, "GET", "/readyz")
    assert (answer.status, answer.json()) == (503, {"status": "not ready", "reasons": ["the gateway is stopping"]})


def test_metrics_are_open_on_loopback_and_take_the_token_elsewhere(desk: FakeDesk) -> None:
    inside, outside = (guarded(make_app(desk), TOKEN, on_loopback=here) for here in (True, False))
    answer = call(inside, "GET", "/metrics")
    assert (answer.status, answer.body) == (200, b"tidegate_x 1\n")
    assert answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert call(outside, "GET", "/metrics").status == 401
    assert call(outside, "GET", "/metrics", BEARER).status == 200


def test_a_reload_says_how_many_workers_have_it(door: Any, desk: FakeDesk) -> None:
    answer = call(door, "POST", "/api/v1/reload", BEARER)
    assert answer.status == 200
    assert answer.fields["x-tidegate-applied"] == "2/2"
    assert answer.json() == {
        "result": "applied", "generation": 7, "workers": {"applied": 2, "of": 2}, "milliseconds": 12.5,
    }  # fmt: skip


def test_a_refused_reload_names_the_problem_in_at_most_a_kibibyte(door: Any, desk: FakeDesk) -> None:
    desk.outcome = Outcome("refused", 7, 2, 2, 0.1, "\n".join(f"c.yaml:{n}: routes[{n}]: bad é" for n in range(99)))
    answer = call(door, "POST", "/api/v1/reload", BEARER)
    assert answer.status == 422
    assert answer.fields["content-type"] == "application/problem+json"
    assert len(answer.body) <= 1024
    assert answer.json()["code"] == "invalid_field"
    assert answer.json()["detail"].startswith("c.yaml:0: routes[0]: bad é\nc.yaml:1:")
    assert answer.json()["detail"].endswith("bad é …")


def every_route() -> list[tuple[str, str]]:
    """Every route of the app's own table (ID1)."""
    found: list[tuple[str, str]] = [("GET", "/api/v1/openapi.json")]
    waiting: list[Any] = list(make_app(FakeDesk()).routes)
    while waiting:
        each = waiting.pop()
        if isinstance(each, Route):
            found += [(method, each.path) for method in sorted(each.methods or ())]
        else:
            waiting += list(
                getattr(each, "routes", []) or getattr(getattr(each, "original_router", None), "routes", [])
            )
    return sorted(set(found))


def test_the_route_table_is_known() -> None:
    assert {path for _, path in every_route()} == {
        "/healthz", "/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/reload", "/api/v1/openapi.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Bearer {TOKEN[:-1]}")],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", TOKEN)],
        [("authorization", "Bearer é")],
        [*BEARER, ("authorization", "Bearer x")],
        [("cookie", f"token={TOKEN}"), ("origin", "http://127.0.0.1:9080")],
        [("x-api-key", TOKEN)],
    ],
)
@pytest.mark.parametrize(("method", "path"), [*every_route(), ("GET", "/"), ("GET", "/docs"), ("POST", "/nothing")])
def test_without_the_token_nothing_is_entered_that_is_not_open(
    desk: FakeDesk, method: str, path: str, fields: list[tuple[str, str]]
) -> None:
    door = guarded(make_app(desk), TOKEN, on_loopback=False)
    answer = call(door, method, path, fields)
    if path in OPEN:
        assert answer.status == 200
    else:
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.fields["www-authenticate"] == 'Bearer realm="tidegate admin"'
        assert answer.fields["connection"] == "close"
    assert desk.calls == []


def test_an_empty_token_opens_nothing(desk: FakeDesk) -> None:
    door = guarded(make_app(desk), "", on_loopback=True)
    assert call(door, "GET", "/api/v1/status", [("authorization", "Bearer ")]).status == 401
    assert call(door, "GET", "/api/v1/status", [("authorization", "Bearer")]).status == 401


def test_the_scheme_is_written_as_one_likes(door: Any) -> None:
    assert call(door, "GET", "/api/v1/status", [("authorization", f"bearer {TOKEN}")]).json() == {"generation": 7}


def test_the_gateways_own_socket_needs_no_token(desk: FakeDesk) -> None:
    door = trusted(make_app(desk))
    assert call(door, "POST", "/api/v1/reload").status == 200
    assert call(door, "GET", "/metrics").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1/status/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/api/v1/reload", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_errors_are_problems(door: Any, method: str, path: str, status: int, code: str) -> None:
    answer = call(door, method, path, BEARER)
    assert (answer.status, answer.json()["code"], answer.json()["type"]) == (
        status, code, f"urn:tidegate:problem:{code}",
    )  # fmt: skip
    assert answer.fields["content-type"] == "application/problem+json"
    assert len(answer.json()["request_id"]) == 36


def test_an_unexpected_error_is_no_500_and_says_nothing_of_itself(door: Any, desk: FakeDesk) -> None:
    desk.trouble = RuntimeError("secret /path")
    answer = call(door, "GET", "/api/v1/status", BEARER)
    assert (answer.status, answer.json()["code"]) == (503, "overloaded")
    assert answer.fields["retry-after"] == "1"
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    "field",
    [("content-length", "1048577"), ("content-length", "-1"), ("content-length", "9" * 30),
     ("transfer-encoding", "chunked")],
)  # fmt: skip
def test_a_body_nobody_needs_is_refused_before_it_is_read(door: Any, desk: FakeDesk, field: tuple[str, str]) -> None:
    answer = call(door, "POST", "/api/v1/reload", [*BEARER, field])
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert desk.calls == []


def test_every_answer_is_kept_out_of_caches_and_frames(door: Any) -> None:
    for path in ("/healthz", "/api/v1/status", "/nothing"):
        fields = call(door, "GET", path, BEARER).fields
        assert fields["cache-control"] == "no-store"
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_the_description_names_every_path_and_loads_nothing_from_elsewhere(door: Any) -> None:
    document = call(door, "GET", "/api/v1/openapi.json", BEARER).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/healthz", "/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/reload",
    }  # fmt: skip
