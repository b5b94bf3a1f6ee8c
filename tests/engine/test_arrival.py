"""What is decided about a request before it is routed (S4, S15.6, S26.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan, TracingPlan


def scene(
    play: Callable[[House, Side, list[Exchange]], Coroutine[Any, Any, None]],
    *,
    trusted: bool = False,
    ip: str = "192.0.2.7",
    **plan: Any,
) -> None:
    """A route that answers 200 itself, and keeps what it has seen."""

    async def run() -> None:
        seen: list[Exchange] = []

        def see(x: Exchange) -> Answer:
            seen.append(x)
            return Answer(200, [], b"seen")

        house = await House([route(on_request_head=(HookPlan(see, "see"),))], [upstream()], **plan).open()
        await play(house, house.client(ip, trusted=trusted), seen)
        assert house.defects == []

    asyncio.run(run())


def status(client: Side, target: str = "/a", *fields: str, method: str = "GET") -> int:
    lines = "".join(f"{field}\r\n" for field in fields)
    client.says(f"{method} {target} HTTP/1.1\r\nHost: gw.example\r\n{lines}\r\n")
    return int(client.hears()[9:12])


def test_host_path_and_query_have_one_canonical_value_s4_7_s4_9() -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        client.says("GET /%61%2d%c3%a9?q=%2F&q=1 HTTP/1.1\r\nHost: GW.Example.:8080\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        [x] = seen
        assert (x.host, x.port, x.path, x.query) == ("gw.example", 8080, "/a-%C3%A9", "q=%2F&q=1")
        assert (x.upstream_path, x.upstream_query) == (x.path, x.query)

    scene(play)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://gw.example/a", 200),
        ("http://GW.example./a", 200),
        ("http://other.example/a", 400),
        ("/a/%2e%2e/b", 400),
    ],
)
def test_an_absolute_target_has_to_name_the_same_host_s4_7(target: str, expected: int) -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, target) == expected

    scene(play)


@pytest.mark.parametrize(
    "named", ["authorization", "Cookie", "x-forwarded-for", "x-user-id", "x-own-identity", "Host", "a b", "close, via"]
)
def test_a_protected_nomination_is_refused_before_anybody_reads_credentials_s4_2(named: str) -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, "/a", f"Connection: {named}") == 400
        assert seen == []
        assert house.record.reason == "bad_framing"

    scene(play, identity_names=frozenset({"x-own-identity"}))


def test_harmless_nominations_pass_s4_1() -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, "/a", "Connection: keep-alive, x-hop") == 200

    scene(play)


def test_only_a_trusted_peer_names_the_client_and_the_request_s4_4_s4_12() -> None:
    fields = ("X-Forwarded-For: 198.51.100.1", "X-Request-ID: given-1")

    async def untrusted(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, "/a", *fields) == 200
        assert (seen[0].client_ip, len(seen[0].request_id)) == ("192.0.2.7", 36)
        assert seen[0].request_id[14] == "7"

    async def trusted(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, "/a", *fields) == 200
        assert (seen[0].client_ip, seen[0].request_id) == ("198.51.100.1", "given-1")
        assert status(client, "/a", "X-Request-ID: " + "x" * 129) == 200
        assert len(seen[1].request_id) == 36

    scene(untrusted)
    scene(trusted, trusted=True, trusted_proxies=("192.0.2.0/24",))


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_is_continued_from_whom_the_plan_trusts_s26_9() -> None:
    async def trusts(house: House, client: Side, seen: list[Exchange]) -> None:
        status(client, "/a", f"traceparent: {PARENT}", "tracestate: a=1")
        status(client, "/a", f"traceparent: {PARENT}", f"traceparent: {PARENT}")
        assert seen[0].trace_id == "0af7651916cd43dd8448eb211c80319c"
        assert (seen[0].trace_parent, seen[0].trace_state) == ("b7ad6b7169203331", "a=1")
        assert seen[0].span_id != "b7ad6b7169203331"
        assert seen[1].trace_id != seen[0].trace_id

    async def does_not(house: House, client: Side, seen: list[Exchange]) -> None:
        status(client, "/a", f"traceparent: {PARENT}", "tracestate: a=1")
        assert seen[0].trace_id != "0af7651916cd43dd8448eb211c80319c"
        assert (seen[0].trace_state, seen[0].sampled) == ("", False)

    scene(trusts)
    scene(does_not, tracing=TracingPlan(trust=False, share=0.0))


def test_the_gateway_answers_for_itself_s2_2_s4_13() -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        client.says("OPTIONS * HTTP/1.1\r\nHost: gw.example\r\n\r\n")
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 204 ") and b"\r\nallow: GET, HEAD, POST" in heard
        assert status(client, "/a", "Max-Forwards: 0", method="OPTIONS") == 204
        assert status(client, "/a", "Max-Forwards: x", method="OPTIONS") == 400
        assert seen == []
        assert status(client, "/a", "Max-Forwards: 1", method="OPTIONS") == 200
        assert seen[0].get("max-forwards") == "0"
        assert status(client, "/a", "Max-Forwards: 0") == 200

    scene(play)


def test_a_request_that_has_passed_here_twice_is_a_loop_s4_3() -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, "/a", "Via: 1.1 tidegate") == 200
        assert status(client, "/a", "Via: 1.1 tidegate, 1.0 other, 1.1 tidegate") == 508

    scene(play)


@pytest.mark.parametrize(
    ("given", "expected", "deadline"),
    [
        ("2.5", 200, 2.5),
        ("99", 200, 30.0),
        ("0", 504, 0.0),
        ("-1", 400, 0.0),
        ("1e1", 400, 0.0),
        ("1.2.3", 400, 0.0),
        (".", 400, 0.0),
        ("", 400, 0.0),
    ],
)
def test_a_clients_deadline_may_shorten_and_never_lengthen_s15_6(given: str, expected: int, deadline: float) -> None:
    async def play(house: House, client: Side, seen: list[Exchange]) -> None:
        assert status(client, "/a", f"X-Request-Timeout: {given}") == expected
        if expected == 200:
            assert seen[0].deadline - seen[0].started == deadline

    scene(play)


def test_forged_identity_and_certificates_never_reach_the_upstream_s4_6_s7_15() -> None:
    async def run() -> None:
        house = await House([route()], [upstream()], identity_names=frozenset({"x-consumer"})).open()
        for trusted in (False, True):
            client = house.client(trusted=trusted)
            client.says(
                "GET /a HTTP/1.1\r\nHost: gw\r\nclient-cert: :Zm9yZ2Vk:\r\nclient-cert-chain: :Zm9yZ2Vk:\r\n"
                "x-consumer: root\r\nx-tidegate-debug: 1\r\n\r\n"
            )
            await settle()
            asked = house.upstreams[0].hears()
            for name in (b"client-cert:", b"client-cert-chain:", b"x-consumer:", b"x-tidegate-debug:"):
                assert (name in asked) == trusted, name
            house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    asyncio.run(run())
