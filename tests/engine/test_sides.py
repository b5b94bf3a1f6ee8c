"""A side does nothing that it does not implement."""

from __future__ import annotations

import pytest

from tidegate.engine.sides import ClientSide, Side
from tidegate.exchange.head import ResponseHead


def test_a_bare_side_swallows_an_answer_and_a_request() -> None:
    side = Side()
    side.pause_source()
    side.take_chunk(b"x")
    side.take_end([])
    side.take_request_chunk(b"x")
    side.take_request_end([])
    side.resume_source()
    assert getattr(side, "__dict__", {}) == {}  # compiled, it has none


def test_only_a_side_that_can_may_become_a_tunnel() -> None:
    with pytest.raises(NotImplementedError):
        ClientSide().start_tunnel(ResponseHead(101, "", []), None)
