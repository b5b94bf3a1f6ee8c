"""The life of an exchange, written as the conversation it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from conversation import House, route, settle, upstream

from tidegate.exchange.head import Answer
from tidegate.ports.plan import BulkheadPlan, FallbackPlan, HookPlan, RetryPlan, TimeoutsPlan

GET = "GET /a?b=1 HTTP/1.1\r\nHost: gw\r\n\r\n"


def run(conversation: Coroutine[Any, Any, None]) -> None:
    asyncio.run(conversation)


def body_of(answer: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return loaded


def test_a_get_goes_through_and_both_connections_live_on() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        client.says(GET)
        await settle()
        [up] = house.upstreams
        asked = up.hears()
        assert asked.startswith(b"GET /a?b=1 HTTP/1.1\r\nhost: gw\r\n")
        assert b"\r\nx-forwarded-for: 192.0.2.7\r\n" in asked
        assert b"\r\nvia: 1.1 tidegate\r\n" in asked
        up.says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nhello")
        client.says(GET)
        assert up.hears().startswith(b"GET /a?b=1")
        up.says("HTTP/1.1 204 No Content\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 204 No Content\r\n")
        assert len(house.upstreams) == 1
        assert [r.status for r in house.sink.records] == [200, 204]
        assert house.sink.records[0].endpoint == "10.0.0.1:80"
        assert house.defects == []

    run(conversation())


def test_an_answer_in_pieces_is_relayed_as_it_comes_and_reframed() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        client.says(GET)
        await settle()
        up = house.upstreams[0]
        up.says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        first = client.hears()
        assert b"transfer-encoding: chunked" in first
        assert first.endswith(b"3\r\nabc\r\n")
        up.says("2\r\nde\r\n0\r\n\r\n")
        assert client.hears() == b"2\r\nde\r\n0\r\n\r\n"
        assert house.record.end == "complete"

    run(conversation())


def test_a_posted_body_streams_to_the_upstream_while_it_comes() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 6\r\n\r\nabc")
        await settle()
        up = house.upstreams[0]
        asked = up.hears()
        assert b"content-length: 6\r\n" in asked
        assert asked.endswith(b"\r\n\r\nabc")
        client.says("def")
        assert up.hears() == b"def"
        up.says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 200")
        assert house.record.bytes_in == 6

    run(conversation())


def test_no_route_is_404_and_a_wrong_path_is_400_and_the_connection_lives_on() -> None:
    async def conversation() -> None:
        house = await House([route("/a")], [upstream()]).open()
        client = house.client()
        client.says("GET /b HTTP/1.1\r\nHost: gw\r\n\r\n")
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert body_of(answer)["code"] == "route_not_found"
        client.says("GET /a/../b HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert body_of(client.hears())["code"] == "ambiguous_path"
        assert not client.closed
        assert house.connected == []

    run(conversation())


def test_a_refused_connection_goes_to_the_other_endpoint() -> None:
    async def conversation() -> None:
        plan = upstream("up", "10.0.0.1:80", "10.0.0.2:80", retry=RetryPlan(base=0.0))
        house = await House([route()], [plan]).open()
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        client = house.client()
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi")
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        asked = house.upstreams[0].hears()
        assert b"x-tidegate-attempt: 2\r\n" in asked
        assert asked.endswith(b"\r\n\r\nhi")
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 200")
        assert (house.record.attempts, house.record.retry_reason) == (2, "connect_failed")

    run(conversation())


def test_when_nobody_can_be_reached_it_is_503_with_retry_after() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream(retry=RetryPlan(base=0.0))]).open()
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        client = house.client()
        client.says(GET)
        await settle()
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert b"proxy-status: tidegate; error=connection_refused" in answer
        assert body_of(answer)["reason"] == "connect_failed"

    run(conversation())


def test_a_post_that_was_reset_after_it_was_sent_is_never_repeated() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream("up", "10.0.0.1:80", "10.0.0.2:80")]).open()
        client = house.client()
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi")
        await settle()
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert body_of(answer)["reason"] == "reset"
        assert len(house.connected) == 1

    run(conversation())


def test_a_stale_connection_costs_an_idempotent_request_one_free_retry() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream(retry=RetryPlan(attempts=0))]).open()
        client = house.client()
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        client.hears()
        client.says(GET)
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        assert len(house.upstreams) == 2
        house.upstreams[1].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 200")

    run(conversation())


def test_a_client_that_leaves_cancels_its_upstream_and_is_recorded_as_499() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        client.says(GET)
        await settle()
        client.leaves()
        assert house.upstreams[0].transport.aborted
        assert (house.record.status, house.record.code, house.record.end) == (499, "client_closed", "cancelled")
        assert house.runtime.in_flight == 0

    run(conversation())


def test_an_upstream_that_stays_silent_is_504_at_the_deadline() -> None:
    async def conversation() -> None:
        plan = upstream(timeouts=TimeoutsPlan(request=2.0))
        house = await House([route()], [plan]).open()
        client = house.client()
        client.says(GET)
        await settle()
        house.pass_time(1.9)
        assert client.hears() == b""
        house.pass_time(0.2)
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert body_of(answer)["code"] == "upstream_timeout"
        assert house.upstreams[0].transport.aborted

    run(conversation())


def test_a_client_may_shorten_the_deadline_and_a_spent_one_calls_nobody() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        client.says("GET / HTTP/1.1\r\nHost: gw\r\nX-Request-Timeout: 0.5\r\n\r\n")
        await settle()
        house.pass_time(0.55)
        assert body_of(client.hears())["code"] == "deadline_exceeded"
        client.says("GET / HTTP/1.1\r\nHost: gw\r\nX-Request-Timeout: 0\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 504 ")
        client.says("GET / HTTP/1.1\r\nHost: gw\r\nX-Request-Timeout: 1e3\r\n\r\n")
        assert body_of(client.hears())["reason"] == "bad_deadline"
        assert len(house.connected) == 1

    run(conversation())


def test_an_upstream_that_breaks_off_inside_the_body_cuts_the_client_off() -> None:
    async def conversation() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        house.upstreams[0].leaves(ConnectionResetError())
        assert client.hears().endswith(b"half")
        assert client.transport.aborted
        assert house.record.end == "cut"

    run(conversation())


def test_a_filter_may_answer_and_nothing_goes_upstream() -> None:
    async def conversation() -> None:
        plan = route(on_request_head=(HookPlan(lambda x: Answer(418, [], b"tea"), "teapot"),))
        house = await House([plan], [upstream()]).open()
        client = house.client()
        client.says(GET)
        assert client.hears().startswith(b"HTTP/1.1 418 ")
        assert house.connected == []

    run(conversation())


def test_a_filter_that_waits_is_stepped_and_cancelled_with_its_client() -> None:
    async def conversation() -> None:
        ended: list[str] = []
        house: House

        async def slow(x: Any) -> None:
            try:
                await house.tools.for_part("test").sleep(5.0)
                ended.append("slept")
            finally:
                ended.append("left")

        house = House([route(on_request_head=(HookPlan(slow, "slow"),))], [upstream()])
        await house.open()
        client = house.client()
        client.says(GET)
        assert client.hears() == b""
        client.leaves()
        assert ended == ["left"]
        assert house.record.status == 499

    run(conversation())


def test_a_defect_in_a_part_is_reported_and_the_client_gets_a_typed_answer() -> None:
    async def conversation() -> None:
        def broken(x: Any) -> None:
            raise ZeroDivisionError("a part's defect")

        house = await House([route(on_request_head=(HookPlan(broken, "broken"),))], [upstream()]).open()
        client = house.client()
        client.says(GET)
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"defect" not in answer
        assert [type(e) for e in house.defects] == [ZeroDivisionError]

    run(conversation())


@pytest.mark.parametrize("size", [65, 200_000])
def test_a_body_past_the_limit_is_413_and_the_connection_ends(size: int) -> None:
    async def conversation() -> None:
        house = await House([route(body_limit=64)], [upstream()]).open()
        client = house.client()
        client.says(f"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: {size}\r\n\r\n")
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close\r\n" in answer
        assert client.closed
        assert house.connected == []

    run(conversation())


def test_a_fallback_answers_when_nobody_can_be_reached() -> None:
    async def conversation() -> None:
        fallback = FallbackPlan(frozenset({"503"}), answer=Answer(200, [], b"stand-in"))
        house = await House([route()], [upstream(fallback=(fallback,), retry=RetryPlan(attempts=0))]).open()
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        client = house.client()
        client.says(GET)
        await settle()
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"x-tidegate-fallback: connect_failed\r\n" in answer
        assert house.record.fallback == "connect_failed"

    run(conversation())


def test_a_full_bulkhead_queues_and_the_freed_place_goes_to_who_waits() -> None:
    async def conversation() -> None:
        plan = upstream(bulkhead=BulkheadPlan(max_in_flight=1, adaptive=False))
        house = await House([route()], [plan]).open()
        first, second = house.client(), house.client()
        first.says(GET)
        await settle()
        second.says(GET)
        await settle()
        assert len(house.upstreams) == 1
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1")
        assert first.hears().endswith(b"1")
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2")
        assert second.hears().endswith(b"2")

    run(conversation())


def test_only_the_query_keys_a_route_names_are_recorded_s26_11() -> None:
    async def conversation() -> None:
        house = await House([route(log_query=("page", "absent"))], [upstream()]).open()
        client = house.client()
        client.says("GET /a?page=2&token=secret HTTP/1.1\r\nHost: gw\r\n\r\n")
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert house.record.query == {"page": "2"}

    run(conversation())
