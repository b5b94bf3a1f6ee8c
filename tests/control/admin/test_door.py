"""The door: identity before anything else, for every route there is and every one there is not (C3.2, ID1, ID6)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.control.admin.app import guarded, make_app, trusted
from tidegate.control.admin.door import OPEN

TOKEN = "tga_0123456789abcdef"
BEARER = ("authorization", f"Bearer {TOKEN}")
ROUTES = [
    ("GET", "/healthz"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/api/v1/status"),
    ("POST", "/api/v1/reload"), ("GET", "/api/v1/openapi.json"), ("GET", "/"), ("GET", "/docs"), ("POST", "/nothing"),
    ("GET", "/healthz/"), ("GET", "/healthz/../api/v1/status"), ("GET", "//healthz"), ("GET", "/HEALTHZ"),
    ("GET", "/api/v1/usage"),
    ("GET", "/api/v1/keys"),
]  # fmt: skip


def test_the_table_above_holds_every_route_of_the_app(desk: Any) -> None:
    assert set(make_app(desk).openapi()["paths"]) <= {path for _, path in ROUTES}


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
        [BEARER, ("authorization", "Bearer x")],
        [("cookie", f"token={TOKEN}"), ("origin", "http://127.0.0.1:9080")],
        [("x-api-key", TOKEN)],
    ],
)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_token_nothing_is_entered_that_is_not_open(
    call: Any, desk: Any, method: str, path: str, fields: list[tuple[str, str]]
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


def test_an_empty_token_opens_nothing(call: Any, desk: Any) -> None:
    door = guarded(make_app(desk), "", on_loopback=True)
    assert call(door, "GET", "/api/v1/status", [("authorization", "Bearer ")]).status == 401
    assert call(door, "GET", "/api/v1/status", [("authorization", "Bearer")]).status == 401


def test_the_scheme_is_written_as_one_likes(call: Any, door: Any) -> None:
    assert call(door, "GET", "/api/v1/status", [("authorization", f"bearer {TOKEN}")]).json() == {"generation": 7}


def test_a_token_that_changes_closes_the_door_to_the_old_one(call: Any, door: Any) -> None:
    door.token = "another-token-than-before"
    assert call(door, "GET", "/api/v1/status", [BEARER]).status == 401
    assert call(door, "GET", "/api/v1/status", [("authorization", f"Bearer {door.token}")]).status == 200


def test_the_gateways_own_socket_needs_no_token(call: Any, desk: Any) -> None:
    door = trusted(make_app(desk))
    assert call(door, "POST", "/api/v1/reload").status == 200
    assert call(door, "GET", "/metrics").status == 200


@pytest.mark.parametrize(
    "field",
    [("content-length", "1048577"), ("content-length", "-1"), ("content-length", "9" * 30),
     ("transfer-encoding", "chunked")],
)  # fmt: skip
def test_a_body_nobody_needs_is_refused_before_it_is_read(
    call: Any, door: Any, desk: Any, field: tuple[str, str]
) -> None:
    answer = call(door, "POST", "/api/v1/reload", [BEARER, field])
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert desk.calls == []


def test_every_answer_is_kept_out_of_caches_and_frames(call: Any, door: Any) -> None:
    for path in ("/healthz", "/api/v1/status", "/nothing"):
        fields = call(door, "GET", path, [BEARER]).fields
        assert fields["cache-control"] == "no-store"
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
