"""``/api/v1/probe``, with the test profile and without (RELIABILITY 5.2)."""

from __future__ import annotations

from typing import Any

from tidegate.control.admin.app import make_app, trusted


class FakeBench:
    def __init__(self) -> None:
        self.told: list[Any] = []

    async def probe(self) -> dict[str, Any]:
        return {"control": {"tasks": 3}, "workers": {}}

    def trap(self, targets: dict[str, str], bodies: dict[str, str]) -> None:
        self.told.append((targets, bodies))


def test_a_normal_start_has_neither_probe_nor_traps(call: Any, desk: Any) -> None:
    app = trusted(make_app(desk))
    assert call(app, "GET", "/api/v1/probe").status == 404
    assert call(app, "PUT", "/api/v1/probe/traps").status == 404


def test_the_test_profile_has_a_probe(call: Any, desk: Any) -> None:
    app = trusted(make_app(desk, FakeBench()))
    answer = call(app, "GET", "/api/v1/probe")
    assert (answer.status, answer.json()) == (200, {"control": {"tasks": 3}, "workers": {}})
