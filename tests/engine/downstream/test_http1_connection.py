"""A client's connection: order, keep-alive, early answers, slow and stuck peers, how it ends (S2.11-S2.16, S3)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conversation import House, Side, scene, settle

from tidegate.engine.downstream.turning_away import kept_refusal
from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan, LimitsPlan, TimeoutsPlan
from tidegate.rules.overload_gate import CALM, SHEDDING, OverloadGate

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ECHOED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/a"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO = Answer(403, [], b"no")


def refusing() -> dict[str, Any]:
    return {"on_request_head": (HookPlan(lambda x: NO, "no"),)}


def echoing() -> dict[str, Any]:
    return {"on_request_head": (HookPlan(lambda x: Answer(200, [], x.path.encode()), "echo"),)}


# -- pipelining (S2.12) ------------------------------------------------------------------------------------------------


def test_a_hundred_in_one_write_are_answered_in_order_s2_12() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("".join(f"GET /{n} HTTP/1.1\r\nHost: gw\r\n\r\n" for n in range(100)))
        heard = client.hears()
        assert heard.count(b"HTTP/1.1 200 OK\r\n") == 100
        bodies = [part.partition(b"\r\n\r\n")[2] for part in heard.split(b"HTTP/1.1 200 OK\r\n")[1:]]
        assert bodies == [f"/{n}".encode() for n in range(100)]
        assert len(house.sink.records) == 100

    scene(play, of_route=echoing())


def test_a_hundred_through_the_upstream_go_one_at_a_time_s2_12() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("".join(f"GET /{n} HTTP/1.1\r\nHost: gw\r\n\r\n" for n in range(100)))
        await settle()
        up = house.upstreams[0]
        for n in range(100):
            assert up.hears().startswith(f"GET /{n} ".encode())
            up.says(OK)
            assert client.hears().endswith(b"\r\n\r\nok")
        assert len(house.upstreams) == 1

    scene(play)


def test_requests_cut_at_every_byte_are_the_same_requests() -> None:
    async def play(house: House, client: Side) -> None:
        row = GET + "POST /b HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + GET
        for byte in row:
            client.says(byte)
        assert client.hears().count(b"HTTP/1.1 200 OK\r\n") == 3
        assert [(r.method, r.bytes_in) for r in house.sink.records] == [("GET", 0), ("POST", 0), ("GET", 0)]

    scene(play, of_route=echoing())


def test_what_waits_behind_is_bounded_and_the_connection_then_deaf_but_watched_s2_12_s15_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        client.says(b"x" * 65_536)
        assert client.transport.reading
        client.says(b"x")
        assert not client.transport.reading
        house.pass_time(0.3)
        assert house.runtime.in_flight == 1
        client.transport.socket.state = 8  # the client has sent a FIN that nobody reads
        house.pass_time(0.2)
        assert house.upstreams[0].transport.aborted
        assert (house.record.status, house.record.end) == (499, "cancelled")
        assert house.runtime.deaf == set()

    scene(play)


def test_reading_goes_on_when_the_row_moves() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        client.says("GET /b HTTP/1.1\r\nHost: gw\r\n" + "x: yyyyyyyyyyy\r\n" * 10 + "\r\n" + GET * 3000)
        assert not client.transport.reading
        house.upstreams[0].says(OK)
        assert client.transport.reading
        assert house.upstreams[0].hears().count(b"HTTP/1.1\r\n") == 2
        client.leaves()

    scene(play)


def test_a_rejected_request_ends_the_row_and_the_canary_is_never_answered_s2() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET + "GET / HTTP/1.1\r\nHost : gw\r\n\r\n" + GET)
        heard = client.hears()
        assert heard.count(b"HTTP/1.1 ") == 2
        assert heard.partition(b"HTTP/1.1 400 ")[1]
        assert client.transport.ended
        client.says(GET)
        assert client.hears() == b""
        house.pass_time(1.1)
        assert client.transport.aborted
        assert [r.status for r in house.sink.records] == [200, 400]

    scene(play, of_route=echoing())


# -- early answers (S2.11) ---------------------------------------------------------------------------------------------


def test_after_an_early_answer_a_short_body_is_drained_and_the_next_request_served_s2_11() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 10\r\n\r\nabc")
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 403 ") and b"connection: close" not in heard
        client.says("defghij" + GET)
        assert client.hears().startswith(b"HTTP/1.1 403 ")
        client.says("POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert client.hears().startswith(b"HTTP/1.1 403 ")
        client.says("0\r\n\r\n" + GET)
        assert client.hears().startswith(b"HTTP/1.1 403 ")
        assert not client.closed

    scene(play, of_route=refusing())


def test_a_long_announced_body_is_not_waited_for_s2_11() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 70000\r\n\r\nabc")
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 403 ") and b"\r\nconnection: close\r\n" in heard
        assert client.transport.ended

    scene(play, of_route=refusing())


@pytest.mark.parametrize("how", ["slow", "long", "broken"])
def test_a_drain_has_its_second_and_its_64_kib_s2_11(how: str) -> None:
    async def play(house: House, client: Side) -> None:
        client.says("POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        assert client.hears().startswith(b"HTTP/1.1 403 ")
        if how == "slow":
            house.pass_time(1.1)
        elif how == "long":
            client.says(b"11000\r\n" + b"y" * 0x11000)
        else:
            client.says("zz\r\n")
        assert client.transport.ended
        client.says(GET)
        assert client.hears() == b""

    scene(play, of_route=refusing())


# -- 100-continue (S2.13) ----------------------------------------------------------------------------------------------

EXPECTS = "POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"


def test_the_expectation_travels_and_the_100_comes_back_once_s2_13() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(EXPECTS)
        await settle()
        up = house.upstreams[0]
        assert b"\r\nexpect: 100-continue\r\n" in up.hears()
        assert client.hears() == b""
        up.says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert client.hears() == CONTINUE
        client.says("hi")
        assert up.hears() == b"hi"
        up.says(OK)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 200 ") and b"connection: close" not in heard

    scene(play)


def test_an_upstream_that_is_silent_for_a_second_gets_the_body_anyway_s2_13() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(EXPECTS)
        await settle()
        house.pass_time(0.95)
        assert client.hears() == b""
        house.pass_time(0.1)
        assert client.hears() == CONTINUE
        client.says("hi")
        house.upstreams[0].says("HTTP/1.1 100 Continue\r\n\r\n" + OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play)


def test_our_own_refusal_is_the_final_answer_and_closes_s2_13() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(EXPECTS)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 403 ") and b"\r\nconnection: close\r\n" in heard

    scene(play, of_route=refusing())


def test_an_answer_without_the_100_closes_because_nobody_knows_what_follows() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(EXPECTS)
        await settle()
        house.upstreams[0].says("HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in client.hears()

    scene(play)


# -- request trailers (S2.7) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forwarded", [True, False])
def test_request_trailers_travel_only_where_the_route_says_so_s2_7(forwarded: bool) -> None:
    async def play(house: House, client: Side) -> None:
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await settle()
        client.says("0\r\nchecksum: 9\r\n\r\n")
        end = b"0\r\nchecksum: 9\r\n\r\n" if forwarded else b"0\r\n\r\n"
        assert house.upstreams[0].hears().endswith(b"1\r\nx\r\n" + end)
        house.upstreams[0].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, of_route={"request_trailers": forwarded})


# -- slow, silent and stuck clients (S3.6-S3.10) -----------------------------------------------------------------------


def test_a_head_has_ten_seconds_from_its_first_byte_and_silence_75_s3_6_s3_10() -> None:
    async def play(house: House, client: Side) -> None:
        house.pass_time(74.0)
        assert not client.closed
        client.says("GET / HT")
        house.pass_time(5.0)
        client.says("TP/1.1\r\n")
        house.pass_time(4.9)
        assert client.hears() == b""
        house.pass_time(0.2)
        assert client.hears().startswith(b"HTTP/1.1 408 ")
        silent = house.client()
        house.pass_time(75.1)
        assert (silent.hears(), silent.closed) == (b"", True)

    scene(play)


def test_a_bad_byte_is_refused_when_it_comes_not_at_a_timeout() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("GET / HTTP/1.1\r\nHost: gw\r\nx\0")
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play)


def test_a_body_has_to_come_with_1_kib_a_second_s3_7() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 99999\r\n\r\n")
        await settle()
        for _ in range(2):
            client.says(b"x" * 10_240)
            house.pass_time(10.0)
        assert client.hears() == b""
        client.says(b"x" * 9_000)
        house.pass_time(10.1)
        assert client.hears().startswith(b"HTTP/1.1 408 ")
        assert house.upstreams[0].transport.aborted
        assert house.runtime.upstreams["up"].breaker.explain(house.now)["failed"] == 0

    scene(play, timeouts=TimeoutsPlan(request=100.0))


def test_the_last_allowed_request_says_close_s3_10() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET * 3)
        heard = client.hears()
        assert (heard.count(b"HTTP/1.1 200"), heard.count(b"connection: close")) == (2, 1)
        assert client.closed

    scene(play, of_route=echoing(), limits=LimitsPlan(keep_alive_requests=2))


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_while_draining_answers_close_and_a_last_request_is_served_s23_5() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        assert b"connection: close" not in client.hears()
        house.engine.begin_drain()
        assert not client.closed
        client.says(GET)
        assert b"\r\nconnection: close\r\n" in client.hears()
        assert client.closed

    scene(play, of_route=echoing())


def test_a_route_may_finish_what_its_client_has_left_s15_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        client.leaves()
        assert not house.upstreams[0].transport.aborted
        house.upstreams[0].says(OK)
        assert (house.record.status, house.record.end) == (200, "cancelled")

    scene(play, of_route={"finish_on_disconnect": True})


def test_a_client_that_leaves_with_half_a_head_leaves_nothing() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("GET / HT")
        client.leaves(ConnectionResetError())
        house.pass_time(11.0)
        assert (client.hears(), house.sink.records, house.runtime.connections) == (b"", [], set())

    scene(play)


def test_a_drowning_worker_refuses_with_canned_bytes_at_a_bounded_rate_s22_9() -> None:
    async def play(house: House, client: Side) -> None:
        house.runtime.drowning = house.runtime.guarded = True
        house.runtime.shed_left = 1
        client.says(GET)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in heard and len(heard) <= 200
        other = house.client()
        other.says(GET)
        assert (other.hears(), other.transport.aborted) == (b"", True)
        assert house.connected == []

    scene(play)


# -- a late loop (S22.9) -----------------------------------------------------------------------------------------------


def hears(client: Side) -> bytes:
    """What the client hears, without the fields that differ each time."""
    return re.sub(rb"(x-request-id|date): [^\r]*\r\n", b"", client.hears())


def shedding(house: House, tokens: float = 0.0) -> OverloadGate:
    """The house's gate turns away whoever comes after *tokens* requests."""
    runtime = house.runtime
    runtime.guarded = True
    gate = runtime.gate
    gate.state = SHEDDING
    gate.refilled = gate.window_began = gate.calm_since = house.now
    gate.refusals = 80.0
    gate.tokens = [tokens] * 4
    return gate


def test_a_late_worker_refuses_and_keeps_the_connection_s22_9() -> None:
    async def play(house: House, client: Side) -> None:
        gate = shedding(house)
        client.says(GET)
        heard = client.hears()
        assert heard == kept_refusal(False)
        assert heard.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in heard and b"close" not in heard
        assert (gate.refused, house.connected) == ([0, 0, 1, 0], [])
        record = house.record
        assert (record.status, record.code, record.reason) == (503, "overloaded", "lag")
        gate.tokens[2] = 1.0
        client.says(GET)
        assert hears(client) == ECHOED
        assert gate.served == 1

    scene(play, of_route=echoing())


def test_pipelined_requests_are_refused_one_by_one_in_order_s22_9() -> None:
    async def play(house: House, client: Side) -> None:
        shedding(house, 1.0)
        client.says(GET + "HEAD /a HTTP/1.1\r\nHost: gw\r\n\r\n" + GET)
        assert hears(client) == ECHOED + kept_refusal(True) + kept_refusal(False)

    scene(play, of_route=echoing())


@pytest.mark.parametrize(
    "text",
    [
        "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("cut", [0, 3, 6])
def test_the_body_of_what_was_refused_is_no_request_s22_9(text: str, cut: int) -> None:
    async def play(house: House, client: Side) -> None:
        gate = shedding(house)
        client.says(text[: len(text) - cut])
        if cut:
            client.says(text[len(text) - cut :])
        assert client.hears() == kept_refusal(False)
        gate.tokens[2] = 1.0
        client.says(GET)
        assert hears(client) == ECHOED

    scene(play, of_route=echoing())


@pytest.mark.parametrize(
    "text",
    [
        "GET /a HTTP/1.0\r\nHost: gw\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 5000000\r\n\r\n",
    ],
)
def test_where_the_next_request_could_not_be_told_the_connection_closes_s22_9(text: str) -> None:
    async def play(house: House, client: Side) -> None:
        shedding(house)
        client.says(text)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 503 ") and b"\r\nconnection: close\r\n" in heard
        assert client.transport.ended

    scene(play)


def test_a_malformed_request_is_refused_for_what_it_is_s2() -> None:
    async def play(house: House, client: Side) -> None:
        shedding(house)
        client.says("GET /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play)


def test_what_waited_unread_for_too_long_is_refused_and_its_place_is_free_s22_9() -> None:
    async def play(house: House, client: Side) -> None:
        gate = shedding(house, 1.0)
        client.transport.socket.age = 51
        client.says(GET)
        assert client.hears() == kept_refusal(False)
        assert gate.tokens[2] == 1.0
        client.transport.socket.age = 50
        client.says(GET)
        assert hears(client) == ECHOED

    scene(play, of_route=echoing())


def test_beyond_what_can_be_refused_requests_are_held_unread_s22_9() -> None:
    async def play(house: House, client: Side) -> None:
        gate = shedding(house)
        gate.refusals = 0.0
        client.says(GET)
        assert (client.hears(), client.transport.reading, list(house.runtime.held)) == (b"", False, [client.protocol])
        house.runtime.release_held(house.now)
        assert client.hears() == b""
        house.now += 0.001
        house.runtime.release_held(house.now)
        assert (client.hears(), client.transport.reading) == (kept_refusal(False), True)
        assert not house.runtime.held

    scene(play)


def test_who_is_held_is_served_when_the_overload_is_over_and_forgotten_when_gone_s22_9() -> None:
    async def play(house: House, client: Side) -> None:
        gate = shedding(house)
        gate.refusals = 0.0
        other = house.client()
        for side in (client, other):
            side.says(GET)
        other.leaves(ConnectionResetError())
        gate.state = CALM
        house.runtime.release_held(house.now)
        assert (hears(client), other.hears()) == (ECHOED, b"")
        assert not house.runtime.held

    scene(play, of_route=echoing())
