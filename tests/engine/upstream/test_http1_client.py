"""An upstream's connection: what it may answer, what ends it, what never comes back (S2.15, S3.8, S16.4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conversation import House, Transport

from fakes import exchange
from tidegate.engine.downstream.http1_connection import Http1Connection
from tidegate.engine.request_body import RequestBody
from tidegate.engine.sides import Side
from tidegate.engine.steps import Steps, Wait
from tidegate.engine.upstream.http1_client import (
    CLOSED,
    ENDED,
    HOLD,
    IDLE,
    INTERIM_HEADS,
    NEVER_IDLE,
    Http1Client,
    Tunnel,
    idle_life,
)
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import CHUNKED, Fields
from tidegate.wire.http1 import ChunkedDecoder, HeadLimits

HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Home:
    """Stands for the pool."""

    def __init__(self) -> None:
        self.back: list[Any] = []
        self.gone: list[Any] = []
        self.stale: list[Any] = []

    def give_back(self, connection: Any) -> None:
        self.back.append(connection)

    def forget(self, connection: Any) -> None:
        self.gone.append(connection)

    def went_stale(self, connection: Any) -> None:
        self.stale.append(connection)


class Client:
    """A client's connection in the middle of an exchange; ``heard`` is all that it was sent."""

    def __init__(self) -> None:
        self.end = asyncio.run(House([]).open()).client()
        self.side: Http1Connection = self.end.protocol
        self.side.x = exchange(fields=[("te", "trailers")])
        self.side.framing = CHUNKED
        self.heard = b""

    def hears(self) -> bytes:
        self.heard += self.end.hears()
        return self.heard

    def answer(self) -> tuple[bytes, Fields | None]:
        """Body and trailers; None when the end has not been sent."""
        decoder = ChunkedDecoder()
        body = b"".join(decoder.feed(self.hears()))
        assert decoder.rest == b""
        return body, decoder.trailers if decoder.done else None


def no_defect(error: BaseException) -> None:
    raise AssertionError from error


class Talk:
    """One connection, asked once."""

    def __init__(self, method: str = "GET", body: RequestBody | None = None, tunnel: Tunnel | None = None) -> None:
        self.pool = Home()
        self.steps = Steps(no_defect)
        self.transport = Transport()
        self.client = Client()
        self.up = Http1Client(self.pool, self.steps, HeadLimits())
        self.up.connection_made(self.transport)
        self.up.tunnel = tunnel
        self.head = self.up.send(HEAD, method, body, self.client.side)

    def says(self, data: str | bytes) -> Talk:
        self.up.data_received(data.encode() if isinstance(data, str) else data)
        return self

    def relay(self) -> Wait:
        return self.up.relay(self.client.side)


def reason(wait: Wait) -> tuple[str, str]:
    assert isinstance(wait.fault, Fault)
    return wait.fault.code, wait.fault.reason


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ("content-length: 5\r\n\r\nhello", b"hello"),
        ("transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        ("content-length: 0\r\n\r\n", b""),
    ],
)
def test_a_framed_answer_fed_byte_by_byte_comes_home_clean(answer: str, body: bytes) -> None:
    talk = Talk()
    for byte in f"HTTP/1.1 200 OK\r\n{answer}":
        talk.says(byte)
    assert talk.head.value.status == 200
    wait = talk.relay()
    assert (wait.done, wait.fault, talk.client.answer()) == (True, None, (body, []))
    talk.up.release()
    assert (talk.pool.back, talk.up.state) == ([talk.up], IDLE)


def test_an_answer_without_length_ends_with_its_connection_and_is_not_kept() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\n\r\nhel")
    wait = talk.relay()
    talk.says("lo")
    assert not wait.done
    talk.up.eof_received()
    talk.up.connection_lost(None)
    assert (wait.done, wait.fault, talk.client.answer()) == (True, None, (b"hello", []))
    assert (talk.pool.gone, talk.up.state) == ([talk.up], CLOSED)


def test_an_answer_without_length_that_is_reset_is_broken() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\n\r\nhel")
    wait = talk.relay()
    talk.up.connection_lost(ConnectionResetError())
    assert reason(wait) == ("bad_upstream", "reset")
    assert talk.client.answer() == (b"hel", None)


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 204 No\r\ncontent-length: 1\r\n\r\n",
        "HTTP/1.1 600 No\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: " + "y" * 50_000,
    ],
)
def test_an_answer_with_two_readings_is_refused_and_its_connection_destroyed_s2_15(answer: str) -> None:
    talk = Talk().says(answer)
    assert reason(talk.head) == ("bad_upstream", "protocol")
    assert talk.transport.aborted
    assert talk.pool.gone == [talk.up]
    talk.up.connection_lost(None)
    assert talk.pool.gone == [talk.up]


def test_eight_interim_heads_pass_and_the_ninth_does_not_s2_15() -> None:
    talk = Talk()
    for _ in range(INTERIM_HEADS):
        talk.says("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    assert talk.client.hears() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 8
    assert not talk.head.done
    talk.says("HTTP/1.1 103 Early Hints\r\n\r\n")
    assert reason(talk.head) == ("bad_upstream", "protocol")


def test_a_bad_chunk_breaks_the_relay_and_nothing_ends_cleanly() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n")
    wait = talk.relay()
    talk.says("zz\r\n")
    assert reason(wait) == ("bad_upstream", "protocol")
    assert talk.client.answer() == (b"he", None)


@pytest.mark.parametrize("rest", ["content-length: 2\r\n\r\nokmore", "transfer-encoding: chunked\r\n\r\n0\r\n\r\nmore"])
def test_bytes_past_the_end_never_answer_the_next_request_s16_4(rest: str) -> None:
    talk = Talk().says(f"HTTP/1.1 200 OK\r\n{rest}")
    assert talk.relay().done
    talk.up.release()
    assert (talk.pool.back, talk.transport.aborted) == ([], True)


def test_bytes_that_come_while_the_answer_is_still_read_close_it_too_s16_4() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert talk.up.state == ENDED
    talk.says("HTTP/1.1 200 OK\r\n")
    talk.up.release()
    assert (talk.pool.back, talk.transport.aborted) == ([], True)


def test_a_body_on_the_answer_to_head_is_left_over_s16_4() -> None:
    talk = Talk("HEAD").says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    assert (talk.up.ended, talk.up.pieces) == (True, [])
    talk.up.release()
    assert talk.pool.back == []


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\r\nconnection: close\r\n", "HTTP/1.0 200 OK\r\n"])
def test_what_wants_to_close_is_not_kept(head: str) -> None:
    talk = Talk().says(f"{head}content-length: 0\r\n\r\n")
    talk.up.release()
    assert (talk.pool.back, talk.up.state) == ([], CLOSED)


def test_an_answer_nobody_took_never_opens_the_next_one_s16_4() -> None:
    talk = Talk().says("HTTP/1.1 503 No\r\ncontent-length: 3\r\n\r\nbad")
    talk.up.release()
    assert talk.pool.back == [talk.up]
    talk.head = talk.up.send(HEAD, "GET", None, talk.client.side)
    talk.says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert talk.up.taken() == b"ok"


def test_an_unread_answer_is_not_pooled() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    talk.up.release()
    assert (talk.pool.back, talk.transport.aborted) == ([], True)


def test_while_nobody_takes_it_256_kib_are_held_then_reading_pauses_s3_8() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n")
    talk.says(b"x" * HOLD)
    assert talk.transport.reading
    talk.says(b"y")
    assert not talk.transport.reading
    talk.relay()
    assert talk.transport.reading
    assert talk.client.answer()[0] == b"x" * HOLD + b"y"


def test_a_fault_inside_the_body_before_anybody_takes_it_is_kept_for_who_will() -> None:
    talk = Talk().says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    talk.up.connection_lost(ConnectionResetError())
    assert reason(talk.relay()) == ("bad_upstream", "reset")


def test_only_a_used_connection_that_said_nothing_went_stale_s14_5() -> None:
    talk = Talk()
    talk.up.connection_lost(ConnectionResetError())
    assert (reason(talk.head), talk.pool.stale) == (("bad_upstream", "reset"), [])
    talk = Talk().says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    talk.up.release()
    wait = talk.up.send(HEAD, "GET", None, None)
    talk.up.connection_lost(None)
    assert (reason(wait), talk.pool.stale) == (("bad_upstream", "stale_connection"), [talk.up])


def test_a_chunked_body_is_framed_anew_with_its_trailers_if_they_may_travel_s2_7() -> None:
    source = Side()
    body = RequestBody(Steps(no_defect), source, CHUNKED, 100)
    body.forward_trailers = True
    body.feed(b"ab")
    talk = Talk("POST", body)
    body.feed(b"c")
    body.finish([("checksum", "1")])
    assert talk.transport.sent == HEAD + b"2\r\nab\r\n1\r\nc\r\n0\r\nchecksum: 1\r\n\r\n"


def test_a_whole_small_body_goes_out_with_its_head_in_one_write() -> None:
    body = RequestBody(Steps(no_defect), Side(), 2, 100)
    body.feed(b"ab")
    body.finish([])
    talk = Talk("POST", body)
    assert talk.transport.sent == HEAD + b"ab"
    assert talk.up.body is None


def test_an_upstream_that_reads_slowly_pauses_the_client_s3_8() -> None:
    source = Client()
    body = RequestBody(Steps(no_defect), source.side, 10, 100)
    talk = Talk("POST", body)
    talk.up.pause_writing()
    assert not source.end.transport.reading
    talk.up.resume_writing()
    assert source.end.transport.reading
    body.feed(b"0123456789")
    body.finish([])
    talk.up.pause_writing()
    assert source.end.transport.reading


def test_an_answer_before_the_request_was_sent_whole_ends_the_connection() -> None:
    body = RequestBody(Steps(no_defect), Side(), 10, 100)
    talk = Talk("POST", body).says("HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n")
    talk.up.release()
    assert (talk.pool.back, body.sink) == ([], None)
    body.feed(b"late")
    assert talk.transport.sent == HEAD


def test_cancelling_who_waits_closes_the_connection() -> None:
    talk = Talk()
    assert talk.head.withdraw is not None
    talk.head.withdraw()
    assert (talk.up.state, talk.transport.aborted, talk.pool.gone) == (CLOSED, True, [talk.up])
    talk.up.fail(Fault("bad_upstream", ""))
    talk.up.connection_lost(None)
    assert not talk.head.done


@pytest.mark.parametrize(
    ("field", "life"),
    [
        (None, NEVER_IDLE),
        ("timeout=5", 4.0),
        ("max=100, Timeout=60", 59.0),
        ("timeout=1", 0.1),
        ("timeout=0", 0.1),
        ("timeout=-5", NEVER_IDLE),
        ("timeout=1e3", NEVER_IDLE),
        ("timeout=" + "9" * 40, NEVER_IDLE),
        ("max=1", NEVER_IDLE),
        ("", NEVER_IDLE),
    ],
)
def test_an_upstreams_promise_less_one_second_s16_3(field: str | None, life: float) -> None:
    assert idle_life(field) == life
