"""``/healthz`` ``/livez`` ``/readyz`` (S23.4)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.control.admin.desk import Readiness


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
def test_anybody_may_ask_whether_we_live(call: Any, door: Any, desk: Any, path: str) -> None:
    answer = call(door, "GET", path)
    assert (answer.status, answer.json()) == (200, {"status": "alive"})
    desk.alive = False
    answer = call(door, "GET", path)
    assert (answer.status, answer.fields["retry-after"]) == (503, "1")


def test_ready_degraded_and_not_ready_are_told_apart(call: Any, door: Any, desk: Any) -> None:
    assert call(door, "GET", "/readyz").json() == {"status": "ready", "reasons": []}
    desk.found = Readiness(True, ("1 of 2 workers are ready",))
    answer = call(door, "GET", "/readyz")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    desk.found = Readiness(False, ("the gateway is stopping",))
    answer = call(door, "GET", "/readyz")
    assert (answer.status, answer.json()) == (503, {"status": "not ready", "reasons": ["the gateway is stopping"]})
    assert answer.fields["retry-after"] == "1"
