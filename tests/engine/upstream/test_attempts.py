"""Attempts: what goes round again, what never does, and what everybody is told of it (S13.5, S13.6, S14, S15.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from tidegate.engine.upstream.attempts import counts_as_failure, failure_kind, retry_after
from tidegate.exchange.fault import CLIENT, UPSTREAM, Fault
from tidegate.exchange.head import ResponseHead
from tidegate.ports.plan import BreakerPlan, HealthPlan, RetryPlan, TimeoutsPlan

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
POST = "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi"
KEYED = "POST /a HTTP/1.1\r\nHost: gw\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\nhi"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad"
TWO = ("10.0.0.1:80", "10.0.0.2:80")
QUICK = RetryPlan(base=0.0)


def scene(
    play: Callable[[House, Side], Coroutine[Any, Any, None]],
    *targets: str,
    trusted: bool = False,
    of_route: Any = None,
    **settings: Any,
) -> None:
    async def run() -> None:
        settings.setdefault("retry", QUICK)
        house = await House([route(**(of_route or {}))], [upstream("up", *targets, **settings)]).open()
        await play(house, house.client(trusted=trusted))
        house.at_rest()

    asyncio.run(run())


def test_a_gateway_status_goes_to_another_endpoint_and_its_body_is_never_seen_again_s14_3() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(BAD)
        await settle()
        assert house.connected == list(TWO)
        assert b"x-tidegate-attempt: 2\r\n" in house.upstreams[1].hears()
        house.upstreams[1].says(OK)
        assert client.hears().endswith(b"\r\n\r\nok")
        assert (house.record.attempts, house.record.retry_reason, house.record.endpoint) == (2, "503", "10.0.0.2:80")
        client.says(GET)  # the first endpoint's connection came home with its 503 untaken
        house.upstreams[0].says(OK)
        answer = client.hears()
        assert b"\r\ncontent-length: 2\r\n" in answer and answer.endswith(b"\r\n\r\nok")

    scene(play, *TWO)


@pytest.mark.parametrize(
    ("words", "retried"),
    [
        (GET, True),
        (POST, False),
        (KEYED, True),
        (GET.replace("GET", "DELETE"), True),
        (GET.replace("GET", "PATCH"), False),
    ],
)
def test_after_a_reset_only_what_is_idempotent_goes_again_s14_1(words: str, retried: bool) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(words)
        await settle()
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        assert len(house.connected) == 1 + retried
        if retried:
            house.upstreams[1].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 " if retried else b"HTTP/1.1 502 ")

    scene(play, *TWO)


def test_a_key_is_no_licence_where_the_route_does_not_take_it() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(KEYED)
        await settle()
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ")

    scene(play, *TWO, of_route={"allow_idempotency_key": False})


def test_a_refused_post_is_safe_to_repeat_and_so_is_its_body_s14_1() -> None:
    async def play(house: House, client: Side) -> None:
        house.refusing[TWO[0]] = ConnectionRefusedError()
        client.says(POST)
        await settle()
        assert house.upstreams[0].hears().endswith(b"\r\n\r\nhi")
        house.upstreams[0].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, *TWO)


def test_a_body_over_64_kib_is_not_kept_so_it_goes_once_s14_1() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("PUT /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 70000\r\n\r\n")
        await settle()
        client.says(b"x" * 66_000)
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ")
        assert len(house.connected) == 1
        client.leaves()

    scene(play, *TWO)


def test_a_small_body_that_is_still_coming_goes_again_whole() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("PUT /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 6\r\n\r\nabc")
        await settle()
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        client.says("def")
        assert house.upstreams[1].hears().endswith(b"\r\n\r\nabcdef")
        house.upstreams[1].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, *TWO)


def test_an_upstream_that_asks_for_more_than_a_second_gets_it_s14_3() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 503 Busy\r\nretry-after: 2\r\ncontent-length: 4\r\n\r\nlong")
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 503 Busy\r\n") and answer.endswith(b"long")
        assert len(house.connected) == 1

    scene(play, *TWO)


def test_what_a_trusted_gateway_repeats_we_do_not_repeat_s14_6() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET.replace("\r\n\r\n", "\r\nx-tidegate-attempt: 2\r\n\r\n"))
        await settle()
        house.upstreams[0].says(BAD)
        assert client.hears().startswith(b"HTTP/1.1 503 ")

    scene(play, *TWO, trusted=True)


def test_an_untrusted_peers_attempt_count_is_not_believed_s4_6() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET.replace("\r\n\r\n", "\r\nx-tidegate-attempt: 2\r\n\r\n"))
        await settle()
        assert b"x-tidegate-attempt" not in house.upstreams[0].hears()
        house.upstreams[0].says(BAD)
        await settle()
        house.upstreams[1].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, *TWO)


def test_a_spent_budget_lets_nothing_go_again_s14_4() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(BAD)
        assert client.hears().startswith(b"HTTP/1.1 503 ")
        assert house.runtime.upstreams["up"].budget.refused == 1

    scene(play, *TWO, retry=RetryPlan(base=0.0, budget=0.0, budget_floor=0.0))


def test_a_stale_connection_is_free_for_get_and_502_for_post_s14_5() -> None:
    async def play(house: House, client: Side) -> None:
        for words, status in ((GET, b"200"), (POST, b"502")):
            client.says(GET)
            await settle()
            house.upstreams[-1].says(OK)
            client.hears()
            client.says(words)
            house.upstreams[-1].leaves(ConnectionResetError())
            await settle()
            if status == b"200":
                house.upstreams[-1].says(OK)
            assert client.hears().startswith(b"HTTP/1.1 " + status)
        last = house.sink.records[-1]
        assert (last.code, last.reason) == ("bad_upstream", "stale_connection")
        pool = house.runtime.upstreams["up"].pools["10.0.0.1:80"]
        assert pool.events["stale"] == 2
        assert house.runtime.upstreams["up"].breaker.explain(house.now)["failed"] == 0

    scene(play, retry=RetryPlan(attempts=0, budget=0.0, budget_floor=0.0))


def test_a_reused_connection_that_said_something_first_is_not_stale() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(OK)
        client.hears()
        client.says(GET)
        house.upstreams[0].says("HTTP/1.1 2")
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        assert house.sink.records[-1].reason == "reset"
        assert len(house.connected) == 1

    scene(play, retry=RetryPlan(attempts=0))


def test_an_attempt_has_a_time_of_its_own_s15_2() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.pass_time(0.6)
        await settle()
        assert house.connected == list(TWO)
        assert house.upstreams[0].transport.aborted
        house.upstreams[1].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert house.record.retry_reason == "attempt"

    scene(play, *TWO, timeouts=TimeoutsPlan(attempt=0.5))


def test_an_open_breaker_refuses_without_a_call_and_says_when_to_come_back_s13_1() -> None:
    async def play(house: House, client: Side) -> None:
        for _ in range(2):
            client.says(GET)
            await settle()
            house.upstreams[-1].says("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
            client.hears()
        client.says(GET)
        answer = client.hears()
        assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in answer
        last = house.sink.records[-1]
        assert (last.reason, last.attempts, len(house.connected)) == ("circuit_open", 0, 1)
        house.pass_time(5.0)
        client.says(GET)
        await settle()
        house.upstreams[-1].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, retry=RetryPlan(attempts=0), breaker=BreakerPlan(min_calls=2, window=2, half_open_calls=1))


def test_a_half_open_permit_comes_back_when_the_client_leaves_s13_5() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
        client.hears()
        house.pass_time(5.0)
        probe = house.client()
        probe.says(GET)
        await settle()
        probe.leaves()
        client.says(GET)
        await settle()
        house.upstreams[-1].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, retry=RetryPlan(attempts=0), breaker=BreakerPlan(min_calls=1, window=1, half_open_calls=1))


def test_a_clients_own_hurry_counts_against_nobody_s13_6() -> None:
    async def play(house: House, client: Side) -> None:
        for _ in range(6):
            client.says(GET.replace("\r\n\r\n", "\r\nx-request-timeout: 0.1\r\n\r\n"))
            await settle()
            house.pass_time(0.2)
            assert client.hears().startswith(b"HTTP/1.1 504 ")
        one = house.runtime.upstreams["up"]
        assert one.breaker.explain(house.now)["failed"] == 0
        assert all(line["usable"] for line in one.health.explain(house.now))

    scene(play, *TWO, retry=RetryPlan(attempts=0))


def test_with_nobody_healthy_it_is_503_at_once_s12_1() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        assert client.hears().startswith(b"HTTP/1.1 503 ")
        assert (house.record.reason, house.record.attempts) == ("no_healthy", 0)

    scene(play, health=HealthPlan())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("upstream_unavailable", "", reason="connect_failed", side=UPSTREAM), "connect"),
        (Fault("tls_error", "", reason="tls", side=UPSTREAM), "connect"),
        (Fault("bad_upstream", "", reason="reset", side=UPSTREAM), "gateway"),
        (Fault("upstream_timeout", "", side=UPSTREAM), "gateway"),
        (Fault("bad_upstream", "", reason="stale_connection", side=UPSTREAM), "cancelled"),
        (Fault("deadline_exceeded", "", side=UPSTREAM), "cancelled"),
        (Fault("body_too_large", "", side=CLIENT), "cancelled"),
        (Fault("draining", ""), "cancelled"),
    ],
)
def test_what_health_hears_of_a_fault_s12_6(fault: Fault, kind: str) -> None:
    assert failure_kind(fault) == kind


def test_figures_of_the_table() -> None:
    assert counts_as_failure(((500, 599),), 503)
    assert not counts_as_failure(((500, 501), (503, 503)), 502)
    for value, seconds in (("3", 3.0), ("", 0.0), ("-1", 0.0), ("1.5", 0.0), ("9" * 10, 0.0), ("٣", 0.0)):
        assert retry_after(ResponseHead(503, "", [("retry-after", value)])) == seconds
    assert retry_after(ResponseHead(503, "", [])) == 0.0
