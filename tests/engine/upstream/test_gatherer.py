"""Holding an answer whole, up to a bound (S3.12)."""

from __future__ import annotations

import pytest
from conversation import Transport

from tidegate.engine.steps import Steps
from tidegate.engine.upstream.gatherer import Gatherer
from tidegate.engine.upstream.http1_client import CLOSED, Http1Client
from tidegate.exchange.fault import Fault
from tidegate.wire.http1 import HeadLimits


class Nowhere:
    def forget(self, connection: object) -> None: ...


def answered(body: str) -> Http1Client:
    def no_defect(error: BaseException) -> None:
        raise AssertionError from error

    up = Http1Client(Nowhere(), Steps(no_defect), HeadLimits())
    up.connection_made(Transport())
    up.send(b"GET / HTTP/1.1\r\n\r\n", "GET", None, None)
    up.data_received(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}".encode())
    return up


def test_the_pieces_come_together() -> None:
    up = answered("2\r\nab\r\n")
    gatherer = Gatherer(up, 4)
    wait = up.relay(gatherer)
    up.data_received(b"2\r\ncd\r\n0\r\n\r\n")
    assert (wait.done, wait.fault, gatherer.body()) == (True, None, b"abcd")


def test_the_byte_past_the_limit_breaks_the_upstream_off_s3_12() -> None:
    up = answered("2\r\nab\r\n")
    gatherer = Gatherer(up, 4)
    wait = up.relay(gatherer)
    up.data_received(b"3\r\ncde\r\n2\r\nfg\r\n0\r\n\r\n")
    assert isinstance(wait.fault, Fault) and wait.fault.code == "upstream_too_large"
    assert (up.state, gatherer.pieces) == (CLOSED, [])


def test_what_came_too_large_with_the_head_is_refused_when_it_is_asked_for() -> None:
    up = answered("5\r\nabcde\r\n0\r\n\r\n")
    gatherer = Gatherer(up, 4)
    wait = up.relay(gatherer)
    assert wait.done
    with pytest.raises(Fault) as caught:
        gatherer.body()
    assert (caught.value.code, caught.value.status) == ("upstream_too_large", 502)
