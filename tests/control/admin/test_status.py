"""``/api/v1/status``."""

from __future__ import annotations

from typing import Any


def test_the_status_is_what_control_says_for_who_has_the_token(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    assert call(door, "GET", "/api/v1/status").status == 401
    assert desk.calls == []
    answer = call(door, "GET", "/api/v1/status", bearer)
    assert (answer.status, answer.json()) == (200, {"generation": 7})
    assert answer.fields["content-type"] == "application/json"
