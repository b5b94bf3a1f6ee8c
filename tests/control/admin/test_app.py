"""The admin app whole: problems for every error, a description, nothing that loads from elsewhere (C3.7, S6.2)."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1/status/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/redoc", 404, "not_found"),
        ("GET", "/api/v1/reload", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_errors_are_problems(call: Any, door: Any, bearer: Any, method: str, path: str, status: int, code: str) -> None:
    answer = call(door, method, path, bearer)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.json()["type"] == f"urn:tidegate:problem:{code}"
    assert answer.fields["content-type"] == "application/problem+json"
    assert len(answer.json()["request_id"]) == 36


def test_an_unexpected_error_is_no_500_and_says_nothing_of_itself(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    desk.trouble = RuntimeError("secret /path")
    answer = call(door, "GET", "/api/v1/status", bearer)
    assert (answer.status, answer.json()["code"]) == (503, "overloaded")
    assert answer.fields["retry-after"] == "1"
    assert b"secret" not in answer.body


def test_the_description_names_every_path(call: Any, door: Any, bearer: Any) -> None:
    document = call(door, "GET", "/api/v1/openapi.json", bearer).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/healthz", "/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/reload", "/api/v1/usage",
        "/api/v1/keys",
    }  # fmt: skip
