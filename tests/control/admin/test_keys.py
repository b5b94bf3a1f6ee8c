"""``/api/v1/keys``: pairs that sign (LLM 2)."""

from __future__ import annotations

from typing import Any

PAIR = {"key": "ci", "access_key_id": "cfg0123456789abc", "secret_access_key": "s3cret"}


def test_the_pairs_of_a_consumer_are_told_to_operators_and_kept_by_nobody(
    call: Any, door: Any, desk: Any, bearer: Any
) -> None:
    desk.pairs = [PAIR]
    answer = call(door, "GET", "/api/v1/keys?consumer=team-a", bearer)
    assert (answer.status, answer.json()) == (200, {"consumer": "team-a", "items": [PAIR]})
    assert answer.fields["cache-control"] == "no-store"
    assert desk.calls == ["keys of team-a"]
    assert call(door, "GET", "/api/v1/keys?consumer=team-a").status == 401


def test_nobody_has_no_pairs(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    answer = call(door, "GET", "/api/v1/keys?consumer=who", bearer)
    assert (answer.status, answer.json()["detail"]) == (404, "The config has no such consumer.")
    assert call(door, "GET", "/api/v1/keys", bearer).status >= 400
