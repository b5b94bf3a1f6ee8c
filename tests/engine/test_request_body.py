"""A request body on its way: kept, streamed, gathered, bounded (S3.3, S3.8, S14.1)."""

from __future__ import annotations

import pytest

from tidegate.engine.request_body import KEEP, RequestBody
from tidegate.engine.steps import Stepper, Steps
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import CHUNKED
from tidegate.wire.http1 import LAST_CHUNK, HeadLimits, encode_chunk


def no_defect(error: BaseException) -> None:
    raise AssertionError from error


class Ends:
    """A source and a sink in one: a connection to an upstream, of which ``told`` is all that its transport is asked."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.side = Http1Client(None, Steps(no_defect), HeadLimits())
        self.side.connection_made(self)
        self.side.body_chunked = True  # so that the end and the trailers are seen

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


def body_of(length: int = CHUNKED, limit: int = 1 << 20) -> tuple[RequestBody, Ends]:
    source = Ends()
    return RequestBody(Steps(no_defect), source.side, length, limit), source


def test_what_came_before_the_sink_goes_first_and_stays_for_a_retry_s14_1() -> None:
    body, _ = body_of()
    body.feed(b"ab")
    first, second = Ends(), Ends()
    body.attach(first.side)
    body.feed(b"cd")
    body.detach()
    body.feed(b"ef")
    body.attach(second.side)
    body.finish([])
    assert first.told == [encode_chunk(b"ab"), encode_chunk(b"cd")]
    assert second.told == [encode_chunk(b"ab"), encode_chunk(b"cd"), encode_chunk(b"ef"), LAST_CHUNK]
    assert body.keeping


def test_past_64_kib_nothing_is_kept_once_somebody_takes_it() -> None:
    body, source = body_of()
    sink = Ends()
    body.attach(sink.side)
    body.feed(b"x" * KEEP)
    assert body.keeping
    body.feed(b"y")
    assert not body.keeping
    assert body.pieces == []
    assert sink.told == [encode_chunk(b"x" * KEEP), encode_chunk(b"y")]
    assert source.told == []


def test_past_64_kib_the_client_pauses_until_somebody_takes_it_s3_8() -> None:
    body, source = body_of()
    body.feed(b"x" * KEEP)
    assert source.told == []
    body.feed(b"y")
    body.feed(b"z")
    assert source.told == ["pause"]
    sink = Ends()
    body.attach(sink.side)
    assert source.told == ["pause", "resume"]
    assert sink.told == [encode_chunk(b"x" * KEEP), encode_chunk(b"y"), encode_chunk(b"z")]
    assert not body.keeping


def test_gathering_lifts_the_pause_and_holds_everything() -> None:
    body, source = body_of()
    body.feed(b"x" * (KEEP + 1))
    seen: list[bytes] = []

    async def gathers() -> None:
        await body.gather()
        seen.append(body.whole())

    stepper = Stepper(body.steps, gathers())
    body.steps.go(stepper)
    assert source.told == ["pause", "resume"]
    body.feed(b"y" * KEEP)
    body.finish([])
    assert seen == [b"x" * (KEEP + 1) + b"y" * KEEP]
    assert body.keeping
    assert body.whole() is body.whole()


def test_gathering_what_is_complete_or_broken_already_does_not_wait() -> None:
    body, _ = body_of()
    body.finish([])
    assert body.gather().done
    assert body.whole() == b""
    broken, _ = body_of()
    fault = Fault("bad_request", "")
    broken.fail(fault)
    wait = broken.gather()
    assert (wait.done, wait.fault) == (True, fault)


def test_a_body_that_breaks_while_it_is_gathered_fails_the_wait() -> None:
    body, _ = body_of()
    wait = body.gather()
    fault = Fault("bad_request", "")
    body.fail(fault)
    assert (wait.done, wait.fault) == (True, fault)


def test_the_byte_past_the_limit_is_413_and_closes_s3_3() -> None:
    body, _ = body_of(limit=4)
    body.feed(b"abcd")
    with pytest.raises(Fault) as caught:
        body.feed(b"e")
    assert (caught.value.code, caught.value.close) == ("body_too_large", True)


def test_a_rewritten_body_takes_the_place_of_what_came() -> None:
    body, _ = body_of()
    body.gather()
    body.feed(b"ab")
    body.finish([])
    body.replace(b"other")
    sink = Ends()
    body.attach(sink.side)
    assert sink.told == [encode_chunk(b"other"), LAST_CHUNK]
    assert body.length == 5
    body.replace(b"")
    assert (body.length, body.pieces) == (0, [])


@pytest.mark.parametrize(("forwarded", "end"), [(True, b"0\r\nchecksum: 1\r\n\r\n"), (False, LAST_CHUNK)])
def test_trailers_travel_only_where_the_route_says_so_s2_7(forwarded: bool, end: bytes) -> None:
    for late in (False, True):
        body, _ = body_of()
        body.forward_trailers = forwarded
        sink = Ends()
        if not late:
            body.attach(sink.side)
        body.finish([("checksum", "1")])
        if late:
            body.attach(sink.side)
        assert sink.told == [end]
