"""``POST /api/v1/reload`` (S23.1, C3.6)."""

from __future__ import annotations

from typing import Any

from tidegate.control.admin.desk import Outcome


def test_a_reload_says_how_many_workers_have_it(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    answer = call(door, "POST", "/api/v1/reload", bearer)
    assert answer.status == 200
    assert answer.fields["x-tidegate-applied"] == "2/2"
    assert answer.json() == {
        "result": "applied", "generation": 7, "changed": True, "workers": {"applied": 2, "of": 2}, "milliseconds": 12.5,
    }  # fmt: skip
    assert desk.calls == ["reload by admin"]


def test_a_worker_that_did_not_take_it_is_told(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    desk.outcome = Outcome("partial", 7, 1, 2, 5.0, "LookupError: no socket for a")
    answer = call(door, "POST", "/api/v1/reload", bearer)
    assert answer.fields["x-tidegate-applied"] == "1/2"
    assert answer.json()["error"] == "LookupError: no socket for a"


def test_a_refused_reload_names_the_problem_in_at_most_a_kibibyte(call: Any, door: Any, desk: Any, bearer: Any) -> None:
    desk.outcome = Outcome("refused", 7, 2, 2, 0.1, "\n".join(f"c.yaml:{n}: routes[{n}]: bad é" for n in range(99)))
    answer = call(door, "POST", "/api/v1/reload", bearer)
    assert answer.status == 422
    assert answer.fields["content-type"] == "application/problem+json"
    assert len(answer.body) <= 1024
    assert answer.json()["code"] == "invalid_field"
    assert answer.json()["detail"].startswith("c.yaml:0: routes[0]: bad é\nc.yaml:1:")
    assert answer.json()["detail"].endswith("bad é …")
