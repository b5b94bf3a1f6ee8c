"""The lane to an HTTP upstream: arms, fallbacks, hooks on the answer, what travels (S1 14-16, S7.6, S13.8, S23.7)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from fakes import FakeTools
from tidegate.engine.lanes.http import is_stream
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Answer, ResponseHead
from tidegate.exchange.identity import Identity
from tidegate.filters.compress import Compress, Config
from tidegate.ports.plan import ArmPlan, FallbackPlan, HookPlan, LimitsPlan, RetryPlan, SplitPlan, TimeoutsPlan

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"


def scene(
    play: Callable[[House, Side], Coroutine[Any, Any, None]],
    *,
    second: bool = False,
    of_route: Any = None,
    limits: Any = None,
    **settings: Any,
) -> None:
    async def run() -> None:
        settings.setdefault("retry", RetryPlan(attempts=0))
        plans = [upstream(**settings)]
        if second:
            plans.append(upstream("second", "10.0.0.2:80", retry=RetryPlan(attempts=0)))
        more = {"limits": limits} if limits is not None else {}
        house = await House([route(**(of_route or {}))], plans, **more).open()
        await play(house, house.client())
        house.at_rest()

    asyncio.run(run())


@pytest.mark.parametrize("fails", [False, True])
def test_another_upstream_stands_in_and_if_it_fails_too_the_first_error_counts_s13_8(fails: bool) -> None:
    async def play(house: House, client: Side) -> None:
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        if fails:
            house.refusing["10.0.0.2:80"] = TimeoutError()
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi")
        await settle()
        if fails:
            heard = client.hears()
            assert heard.startswith(b"HTTP/1.1 503 ") and b"x-tidegate-fallback" not in heard
            assert (house.record.fallback, house.record.reason) == ("", "connect_failed")
            return
        assert house.upstreams[0].hears().endswith(b"\r\n\r\nhi")
        house.upstreams[0].says(OK)
        assert b"\r\nx-tidegate-fallback: connect_failed\r\n" in client.hears()
        assert (house.record.upstream, house.record.fallback) == ("second", "connect_failed")

    scene(play, second=True, fallback=(FallbackPlan(frozenset({"503"}), upstream="second"),))


def test_an_upstreams_own_503_may_fall_back_and_its_body_is_dropped_s13_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(BAD)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 200 ") and heard.endswith(b"stand-in")
        client.says(GET)
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"\r\n\r\nok")

    scene(play, fallback=(FallbackPlan(frozenset({"503"}), answer=Answer(200, [], b"stand-in")),))


@pytest.mark.parametrize(("on", "status"), [("timeout", b"200"), ("no_healthy", b"504")])
def test_only_a_trigger_that_is_named_falls_back(on: str, status: bytes) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.pass_time(1.2)
        assert client.hears()[9:12] == status

    fallback = (FallbackPlan(frozenset({on}), answer=Answer(200, [], b"late")),)
    scene(play, fallback=fallback, timeouts=TimeoutsPlan(request=1.0))


def test_a_split_sends_to_the_arm_it_picks_with_its_fields_s23_7() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        assert b"\r\nx-arm: b\r\n" in house.upstreams[0].hears()
        house.upstreams[0].says(OK)
        assert house.record.variant == "second"

    arms = (ArmPlan("up", 90), ArmPlan("second", 10, (("x-arm", "b"),)))
    scene(play, second=True, of_route={"split": SplitPlan(arms, pick=lambda x: 1)})


def test_a_split_without_weights_is_503_s5_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        assert client.hears().startswith(b"HTTP/1.1 503 ")

    scene(play, of_route={"split": SplitPlan((ArmPlan("up", 0),), pick=lambda x: -1)})


def test_identity_and_deadline_travel_where_the_route_says_so_s7_6_s15_7() -> None:
    def who(x: Exchange) -> None:
        x.identity = Identity("bob" if x.path == "/a" else "b\nob", "api_key", tenant="t")

    async def play(house: House, client: Side) -> None:
        client.says(GET.replace("\r\n\r\n", "\r\nx-consumer: root\r\n\r\n"))
        await settle()
        asked = house.upstreams[0].hears()
        assert b"\r\nx-consumer: bob\r\n" in asked and b"root" not in asked
        assert b"\r\nx-request-timeout: 29.995\r\n" in asked
        house.upstreams[0].says(OK)
        client.hears()
        client.says(GET.replace("/a", "/b"))
        assert client.hears().startswith(b"HTTP/1.1 401 ")

    settings = {"identity_fields": (("x-consumer", "consumer"),), "propagate_deadline": True}
    scene(play, of_route={"on_request_head": (HookPlan(who, "who"),), **settings})


def test_hooks_see_head_chunks_and_whole_bodies() -> None:
    def head_hook(x: Exchange, head: ResponseHead) -> None:
        head.set("x-seen", "1")

    async def chunks(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        house.upstreams[0].says("cd")
        heard = client.hears()
        assert b"\r\nx-seen: 1\r\n" in heard
        assert heard.endswith(b"2\r\nAB\r\n2\r\nCD\r\n1\r\n!\r\n0\r\n\r\n")

    async def whole(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        coded = gzip.compress(b"abc")
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(coded)}\r\n\r\n"
        house.upstreams[0].says(head.encode() + coded)
        heard = client.hears()
        assert heard.endswith(b"\r\n\r\nABC") and b"content-encoding" not in heard and b"content-length: 3\r\n" in heard

    def upper(x: Exchange, chunk: bytes, last: bool) -> bytes:
        return b"!" if last else chunk.upper()

    scene(chunks, of_route={"on_response_head": (head_hook,), "on_response_chunk": ((upper, None),)})
    hook = HookPlan(lambda x, head, body: body.upper(), "upper")
    scene(whole, of_route={"on_response_body": ((hook, None),)})


def whole_answer(body: bytes, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 200 OK\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def test_an_answer_that_one_filter_held_is_compressed_by_the_next_s20_1() -> None:
    compress = Compress(Config(), FakeTools())

    async def play(house: House, client: Side) -> None:
        client.says(GET.replace("\r\n\r\n", "\r\nAccept-Encoding: gzip\r\n\r\n"))
        await settle()
        house.upstreams[0].says(whole_answer(b"tide" * 500, "content-type: text/plain"))
        head, _, body = client.hears().partition(b"\r\n\r\n")
        assert b"\r\ncontent-encoding: gzip" in head and f"\r\ncontent-length: {len(body)}".encode() in head
        assert gzip.decompress(body) == b"TIDE" * 500

    hook = HookPlan(lambda x, head, body: body.upper(), "upper")
    filters = {
        "on_response_head": (compress.on_response_head,),
        "on_response_body": ((hook, None),),
        "on_response_chunk": ((compress.on_response_chunk, compress.wants_chunks),),
    }
    scene(play, of_route=filters)


def test_what_is_held_is_decoded_by_the_upstreams_own_coding_whatever_hooks_say_s20_3() -> None:
    def hide(x: Exchange, head: ResponseHead) -> None:
        head.remove("content-encoding")

    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(whole_answer(gzip.compress(b"abc"), "content-encoding: gzip"))
        assert client.hears().endswith(b"\r\n\r\nABC")

    hook = HookPlan(lambda x, head, body: body.upper(), "upper")
    scene(play, of_route={"on_response_head": (hide,), "on_response_body": ((hook, None),)})


def fails_on(word: bytes, error: Exception) -> Any:
    def hook(x: Exchange, chunk: bytes, last: bool) -> bytes:
        if (last and word == b"end") or chunk == word:
            raise error
        return chunk

    return {"on_response_chunk": ((hook, None),)}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(Fault("bad_upstream", "No."), b"502", "bad_upstream"), (KeyError("x"), b"503", "upstream_unavailable")],
)
@pytest.mark.parametrize("word", [b"ab", b"end"])
def test_a_chunk_hook_that_breaks_on_a_whole_answer_gives_a_problem_s6_5(
    word: bytes, error: Exception, status: bytes, code: str
) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(whole_answer(b"ab"))
        assert client.hears()[9:12] == status
        assert (house.record.code, house.record.end) == (code, "complete")
        house.defects.clear()

    scene(play, of_route=fails_on(word, error))


@pytest.mark.parametrize("error", [Fault("bad_upstream", "No."), KeyError("x")])
@pytest.mark.parametrize("word", [b"ab", b"cd", b"end"])
def test_a_chunk_hook_that_breaks_inside_an_answer_cuts_the_client_off_s6_5(word: bytes, error: Exception) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        up = house.upstreams[0]
        up.says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
        if word != b"ab":
            up.says("2\r\ncd\r\n")
        if word == b"end":
            up.says("0\r\n\r\n")
        assert not client.hears().endswith(b"0\r\n\r\n")
        assert client.transport.aborted and up.transport.aborted
        assert (house.record.end, house.record.status) == ("cut", 200)
        assert house.defects == ([error] if isinstance(error, KeyError) else [])
        house.defects.clear()

    scene(play, of_route=fails_on(word, error))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n", b"upstream_too_large"),
        ("HTTP/1.1 200 OK\r\n\r\n12345678901", b"upstream_too_large"),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nbad", b"bad_upstream"),
    ],
)
def test_what_may_not_be_held_is_502_s3_12_s20_3(answer: str, code: bytes) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(answer)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 502 ") and code in heard

    hook = HookPlan(lambda x, head, body: None, "reads")
    scene(play, of_route={"on_response_body": ((hook, None),)}, limits=LimitsPlan(response_buffer=10))


def test_a_hook_may_refuse_the_answer_and_the_upstreams_is_never_seen() -> None:
    async def play(house: House, client: Side) -> None:
        for _ in range(2):
            client.says(GET)
            await settle()
            house.upstreams[-1].says(BAD)
            assert client.hears().endswith(b"\r\n\r\nrefused")

    scene(play, of_route={"on_response_head": (lambda x, head: Answer(502, [], b"refused"),)})


def test_both_connections_pause_together_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        up = house.upstreams[0]
        up.says("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        client.is_stuck(70_000)
        assert not up.transport.reading
        client.reads_on()
        assert up.transport.reading
        up.says("cd")
        client.hears()
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nab")
        up.is_stuck(70_000)
        assert not client.transport.reading
        up.reads_on()
        assert client.transport.reading
        client.says("cd")
        up.says(OK)

    scene(play)


@pytest.mark.parametrize(
    ("fields", "stream"),
    [
        ([("content-type", "text/event-stream")], True),
        ([("content-type", "Text/Event-Stream;charset=utf-8")], True),
        ([("content-type", "application/x-ndjson")], True),
        ([("content-type", "application/json")], False),
        ([("x-accel-buffering", "no")], True),
        ([("x-accel-buffering", "yes")], False),
        ([], False),
    ],
)
def test_which_answers_come_when_they_come_s15_4(fields: list[tuple[str, str]], stream: bool) -> None:
    assert is_stream(ResponseHead(200, "OK", fields)) is stream
