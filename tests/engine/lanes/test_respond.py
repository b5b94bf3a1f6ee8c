"""Fixed answers and redirects (S5.6)."""

from __future__ import annotations

import asyncio

import pytest
from conversation import House, route

from fakes import exchange
from tidegate.engine.lanes.respond import redirect_answer, swap_prefix
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Answer
from tidegate.ports.plan import RedirectPlan


@pytest.mark.parametrize(
    ("plan", "location"),
    [
        (RedirectPlan(), "https://api.example:8443/v1/x?b=1&a=2"),
        (RedirectPlan(scheme="http"), "http://api.example/v1/x?b=1&a=2"),
        (RedirectPlan(host="other.example"), "https://other.example/v1/x?b=1&a=2"),
        (RedirectPlan(port=443), "https://api.example/v1/x?b=1&a=2"),
        (RedirectPlan(port=444), "https://api.example:444/v1/x?b=1&a=2"),
        (RedirectPlan(path="/new"), "https://api.example:8443/new?b=1&a=2"),
        (RedirectPlan(prefix="/v2"), "https://api.example:8443/v2/x?b=1&a=2"),
        (RedirectPlan(prefix="/"), "https://api.example:8443/x?b=1&a=2"),
    ],
)
def test_a_location_is_absolute_and_keeps_what_is_not_replaced_s5_6(plan: RedirectPlan, location: str) -> None:
    x = exchange("GET", "/v1/x", query="b=1&a=2", port=8443)
    answer = redirect_answer(route("/v1", redirect=plan, lane="redirect"), x)
    assert (answer.status, answer.fields) == (302, [("location", location)])


@pytest.mark.parametrize(
    ("path", "old", "new", "made"),
    [("/a", "/a", "/", "/"), ("/a/", "/a", "/b", "/b/"), ("/a/b", "/a/", "/c/", "/c/b"), ("/x", "/", "/y", "/y/x")],
)
def test_a_prefix_is_swapped_by_whole_segments_s5_7(path: str, old: str, new: str, made: str) -> None:
    assert swap_prefix(path, old, new) == made


def test_a_swap_that_makes_no_valid_path_is_400_s5_7() -> None:
    with pytest.raises(Fault) as caught:
        swap_prefix("/a/b", "/a", "/../etc")
    assert caught.value.status == 400


def test_fixed_answers_pass_the_answer_hooks_and_carry_the_request_id() -> None:
    async def run() -> None:
        plan = route(lane="respond", respond=Answer(299, [("x-own", "1")], b"fixed"),
                     on_response_head=(lambda x, head: head.set("x-hook", "2"),))  # fmt: skip
        house = await House([plan]).open()
        client = house.client()
        client.says("GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 299 ") and heard.endswith(b"\r\n\r\nfixed")
        for line in (b"x-own: 1", b"x-hook: 2", b"x-request-id: "):
            assert b"\r\n" + line in heard
        client.says("HEAD / HTTP/1.1\r\nHost: gw\r\n\r\n")
        heard = client.hears()
        assert heard.endswith(b"\r\n\r\n") and b"\r\ncontent-length: 5\r\n" in heard
        assert [r.status for r in house.sink.records] == [299, 299]
        house.at_rest()

    asyncio.run(run())
