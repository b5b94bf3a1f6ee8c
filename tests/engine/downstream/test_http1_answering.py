"""What a client is sent: framing, interim answers, trailers, slow and stuck peers (S2.7, S2.16, S3.8, S15)."""

from __future__ import annotations

from typing import Any

import pytest
from conversation import House, Side, scene, settle

from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan, TimeoutsPlan

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO = Answer(403, [], b"no")


def refusing() -> dict[str, Any]:
    return {"on_request_head": (HookPlan(lambda x: NO, "no"),)}


def echoing() -> dict[str, Any]:
    return {"on_request_head": (HookPlan(lambda x: Answer(200, [], x.path.encode()), "echo"),)}


# -- 1.0, HEAD, interim, trailers (S2.7, S2.13, S2.15, S2.16) ----------------------------------------------------------


def test_a_1_0_client_gets_no_interim_no_chunks_and_a_close_s2_13_s2_16() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("GET /a HTTP/1.0\r\n\r\n")
        await settle()
        up = house.upstreams[0]
        up.says("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        assert client.hears() == b""
        up.says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        heard = client.hears()
        assert b"transfer-encoding" not in heard and b"\r\nconnection: close\r\n" in heard
        assert heard.endswith(b"\r\n\r\nabc")
        up.says("2\r\nde\r\n0\r\n\r\n")
        assert client.hears() == b"de"
        assert client.closed
        assert house.record.proto == "HTTP/1.0"

    scene(play)


def test_a_1_0_client_may_ask_to_stay() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"\r\nconnection: keep-alive\r\n" in client.hears()
        assert not client.closed

    scene(play, of_route=echoing())


@pytest.mark.parametrize("framing", ["content-length: 5", "transfer-encoding: chunked"])
def test_head_gets_the_head_and_nothing_else_s2_16(framing: str) -> None:
    async def play(house: House, client: Side) -> None:
        client.says("HEAD /a HTTP/1.1\r\nHost: gw\r\n\r\n")
        await settle()
        house.upstreams[0].says(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")
        heard = client.hears()
        assert heard.endswith(b"\r\n\r\n")
        assert (b"content-length: 5\r\n" in heard) == framing.startswith("content")
        client.says(GET)
        assert house.upstreams[0].hears().startswith(b"HEAD /a")
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")

    scene(play)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none_and_204_no_length_s2_16(status: int) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(f'HTTP/1.1 {status} X\r\netag: "e"\r\n\r\n')
        heard = client.hears()
        assert heard.endswith(b"\r\n\r\n") and b"content-length" not in heard and b"transfer-encoding" not in heard
        assert heard.count(b"\r\ndate: ") == 1

    scene(play)


def test_early_hints_pass_without_what_is_for_one_hop_s2_16() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nkeep-alive: timeout=1\r\n\r\n")
        assert client.hears() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        house.upstreams[0].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_answer_trailers_go_to_who_asked_for_them_s2_7(at_once: bool, wanted: bool) -> None:
    async def play(house: House, client: Side) -> None:
        te = "TE: trailers\r\nConnection: TE\r\n" if wanted else ""
        client.says(f"GET /a HTTP/1.1\r\nHost: gw\r\n{te}\r\n")
        await settle()
        head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        rest = "1\r\nx\r\n0\r\nchecksum: 9\r\ncontent-length: 5\r\n\r\n"
        for words in [head + rest] if at_once else [head, rest]:
            house.upstreams[0].says(words)
        heard = client.hears()
        if wanted:
            assert heard.endswith(b"1\r\nx\r\n0\r\nchecksum: 9\r\n\r\n")
        else:
            assert b"checksum" not in heard and b"x" in heard

    scene(play)


# -- slow and stuck clients (S3.8) -------------------------------------------------------------------------------------


async def stuck(house: House, client: Side) -> Side:
    client.says(GET)
    await settle()
    up = house.upstreams[0]
    up.says("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n" + "x" * 1000)
    client.is_stuck(70_000)
    assert not up.transport.reading
    return up


def test_a_client_that_takes_nothing_for_30_s_is_cut_off_and_its_upstream_freed_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        up = await stuck(house, client)
        house.pass_time(29.0)
        assert not client.transport.aborted
        house.pass_time(2.0)
        assert client.transport.aborted
        client.leaves(ConnectionResetError())
        assert up.transport.aborted
        assert house.record.end == "cancelled"
        assert house.runtime.metrics.counters["rejects_total"][("client_stuck",)] == 1

    scene(play)


def test_a_client_that_trickles_windows_is_cut_off_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        await stuck(house, client)
        house.pass_time(9.0)
        client.transport.stuck -= 10_000
        house.pass_time(1.1)
        assert client.transport.aborted
        client.leaves(ConnectionResetError())

    scene(play)


def test_a_slow_reader_over_the_rate_is_served_on_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        up = await stuck(house, client)
        for _ in range(5):
            house.pass_time(9.0)
            client.transport.stuck -= 11_000
            house.pass_time(1.05)
            assert not client.transport.aborted
        client.reads_on()
        assert up.transport.reading
        house.pass_time(5.0)
        client.leaves()

    scene(play)


def test_a_client_that_never_reads_the_end_of_its_answer_is_cut_off_too_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + "x" * 99_999)
        client.is_stuck(90_000)
        house.upstreams[0].says("x")
        assert house.record.end == "complete"
        house.pass_time(31.0)
        assert client.transport.aborted

    scene(play)


def test_a_closing_answer_is_not_truncated_while_its_client_still_takes_it_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("GET /a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        await settle()
        client.transport.stuck = 60_000
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n" + "x" * 60_000)
        assert client.closed
        house.pass_time(9.5)
        client.transport.stuck = 40_000
        house.pass_time(10.0)
        assert not client.transport.aborted
        house.pass_time(31.0)
        assert client.transport.aborted

    scene(play)


def test_a_refusal_lingers_while_it_is_taken() -> None:
    async def play(house: House, client: Side) -> None:
        client.transport.stuck = 100
        client.says("nonsense\r\n\r\n")
        house.pass_time(1.5)
        assert not client.transport.aborted
        client.transport.stuck = 0
        house.pass_time(10.0)
        assert client.transport.aborted

    scene(play)


# -- slow upstreams (S15.4, S15.5) -------------------------------------------------------------------------------------


def test_an_answer_that_drips_is_cut_after_ten_seconds_s15_4() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n")
        for _ in range(11):
            assert not client.transport.aborted
            house.upstreams[0].says("x")
            house.pass_time(1.0)
        assert client.transport.aborted
        assert (house.record.end, house.record.code) == ("cut", "upstream_timeout")

    scene(play)


@pytest.mark.parametrize("field", ["content-type: text/event-stream; charset=utf-8", "x-accel-buffering: no"])
def test_a_stream_has_no_least_rate_but_an_idle_time_s15_4_s18_17(field: str) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(f"HTTP/1.1 200 OK\r\n{field}\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            house.pass_time(19.0)
            house.upstreams[0].says("1\r\nx\r\n")
            assert not client.transport.aborted
        house.pass_time(20.1)
        assert client.transport.aborted

    scene(play, timeouts=TimeoutsPlan(idle=20.0))


def test_a_steady_answer_ends_at_its_total_s15_5() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n")
        for _ in range(4):
            house.upstreams[0].says(b"x" * 20_000)
            house.pass_time(4.0)
        assert not client.transport.aborted
        house.pass_time(4.1)
        assert client.transport.aborted

    scene(play, timeouts=TimeoutsPlan(total=20.0))


def test_a_full_client_is_not_the_upstreams_fault() -> None:
    async def play(house: House, client: Side) -> None:
        up = await stuck(house, client)
        for _ in range(3):
            house.pass_time(8.0)
            client.transport.stuck -= 15_000
        client.reads_on()
        house.pass_time(9.0)
        assert not client.transport.aborted
        up.says(b"x" * 20_000)
        house.pass_time(2.0)
        assert not client.transport.aborted
        client.leaves()

    scene(play, timeouts=TimeoutsPlan(idle=10.0))
