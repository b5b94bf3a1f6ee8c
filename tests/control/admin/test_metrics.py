"""``/metrics``: who may read it, and as what it is sent (S26, ARCHITECTURE 11)."""

from __future__ import annotations

from typing import Any

from tidegate.control.admin.app import guarded, make_app


def test_metrics_are_open_on_loopback_and_take_the_token_elsewhere(call: Any, desk: Any, bearer: Any) -> None:
    inside, outside = (guarded(make_app(desk), "tga_0123456789abcdef", on_loopback=here) for here in (True, False))
    answer = call(inside, "GET", "/metrics")
    assert (answer.status, answer.body) == (200, b"tidegate_x 1\n")
    assert answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert call(outside, "GET", "/metrics").status == 401
    assert call(outside, "GET", "/metrics", bearer).status == 200
