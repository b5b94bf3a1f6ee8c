"""Edits of header fields, in the order of S10.1."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Fields, ResponseHead
from tidegate.exchange.identity import Identity
from tidegate.filters.headers import Config, Headers


def build(**settings: Any) -> Headers:
    return Headers(Config.model_validate(settings), FakeTools())


def sent(x: Exchange) -> Fields:
    """The fields the upstream will see."""
    dropped = x.dropped or set()
    return [line for line in x.head.fields if line[0] not in dropped] + (x.added or [])


def answered(filter: Headers, fields: Fields, x: Exchange | None = None) -> Fields:
    head = ResponseHead(200, "OK", fields)
    filter.on_response_head(x or exchange(), head)
    return head.fields


def test_the_example_marks_requests_and_hides_the_server() -> None:
    filter = build(request={"set": {"x-from": "tidegate"}}, response={"remove": ["server"]})
    x = exchange(fields=[("x-from", "client"), ("accept", "*/*")])
    filter.on_request_head(x)
    assert sent(x) == [("host", "api.example"), ("accept", "*/*"), ("x-from", "tidegate")]
    assert answered(filter, [("server", "nginx"), ("etag", '"1"')]) == [("etag", '"1"')]


def test_rename_remove_set_and_add_come_in_this_order_s10_1() -> None:
    edits = {
        "rename": {"X-Old": "x-new"}, "remove": ["x-gone"], "set": {"x-set": "s"}, "add": {"x-add": "a"},
    }  # fmt: skip
    came = [("x-old", "1"), ("x-new", "0"), ("x-gone", "g"), ("x-set", "0"), ("x-add", "0")]
    x = exchange(fields=came)
    filter = build(request=edits, response=edits)
    filter.on_request_head(x)
    assert sent(x)[1:] == [("x-add", "0"), ("x-new", "1"), ("x-set", "s"), ("x-add", "a")]
    assert answered(filter, list(came)) == [("x-new", "1"), ("x-add", "0"), ("x-set", "s"), ("x-add", "a")]


def test_renaming_what_is_not_there_changes_nothing() -> None:
    filter = build(request={"rename": {"a": "b"}}, response={"rename": {"a": "b"}})
    x = exchange(fields=[("b", "1")])
    filter.on_request_head(x)
    assert sent(x)[1:] == [("b", "1")]
    assert answered(filter, [("b", "1")]) == [("b", "1")]


def test_values_see_the_request_as_it_came_to_the_filter() -> None:
    x = exchange(fields=[("x-a", "1")])
    build(request={"remove": ["x-a"], "set": {"x-b": "was {request.header.x-a}"}}).on_request_head(x)
    assert sent(x)[1:] == [("x-b", "was 1")]


def test_an_edit_replaces_what_an_earlier_filter_added() -> None:
    x = exchange()
    x.add_field("x-from", "first")
    build(request={"set": {"x-from": "second"}}).on_request_head(x)
    assert sent(x)[1:] == [("x-from", "second")]


def test_answers_may_speak_of_the_caller_and_the_answer() -> None:
    x = exchange()
    x.identity = Identity("ann", "jwt")
    filter = build(response={"set": {"x-who": "{consumer}", "x-was": "{status}/{response.header.etag}"}})
    assert answered(filter, [("etag", "1")], x) == [("etag", "1"), ("x-who", "ann"), ("x-was", "200/1")]


def test_a_line_break_in_a_value_is_400_on_the_way_in_s10_2() -> None:
    x = exchange()
    x.captures = {"id": "1\r\nx-evil: 1"}
    with pytest.raises(Fault) as refused:
        build(request={"set": {"x-id": "{capture.id}"}}).on_request_head(x)
    assert (refused.value.code, refused.value.status) == ("bad_request", 400)


def test_a_line_break_in_a_value_is_502_on_the_way_back_s10_2() -> None:
    x = exchange()
    x.captures, x.upstream_status = {"id": "1\n2"}, 200
    with pytest.raises(Fault) as refused:
        answered(build(response={"add": {"x-id": "{capture.id}"}}), [], x)
    assert (refused.value.code, refused.value.status) == ("bad_upstream", 502)


def test_a_refusal_of_our_own_goes_out_without_a_value_that_is_missing() -> None:
    filter = build(response={"set": {"x-who": "{consumer|required}", "x-ok": "1"}})
    assert answered(filter, []) == [("x-ok", "1")]


@pytest.mark.parametrize(
    "settings",
    [
        {"request": {"set": {"Host": "x"}}},
        {"request": {"remove": ["content-length"]}},
        {"request": {"rename": {"x-a": "transfer-encoding"}}},
        {"response": {"add": {"connection": "close"}}},
        {"request": {"set": {"x-a": "a\nb"}}},
        {"request": {"set": {"x-a": "{status}"}}},
        {"request": {"replace": {"x-a": "1"}}},
        {"trailer": {}},
    ],
)
def test_what_may_not_be_edited_is_refused_at_config_time_s10_1(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)
