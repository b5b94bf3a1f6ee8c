"""Bodies changed on the way (S10.3)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, Fields, ResponseHead
from tidegate.filters.transform import MOST, Config, Transform

JSON = ("content-type", "application/json")


def build(**settings: Any) -> Transform:
    return Transform(Config.model_validate(settings), FakeTools())


def sent(filter: Transform, body: bytes, fields: Fields | None = None) -> tuple[bytes, Exchange]:
    x = exchange("POST", fields=[JSON] if fields is None else fields, body_length=len(body))
    filter.on_request_head(x)
    assert filter.wants_request_body(x)
    return filter.on_request_body(x, body), x


def answered(
    filter: Transform, body: bytes, fields: Fields | None = None, *, status: int = 200, length: int = CHUNKED
) -> tuple[bytes, ResponseHead]:
    x = exchange()
    head = ResponseHead(status, "", [JSON] if fields is None else fields, length)
    if not filter.wants_body(x, head):
        return body, head
    return filter.on_response_body(x, head, body), head


def test_a_request_is_changed_and_its_numbers_stay_text() -> None:
    filter = build(request={"drop": ["/secret"], "set": {"/via": "{host}"}, "headers": {"X-Total": "/total"}})
    body, x = sent(filter, b'{"total": 1.10, "secret": 1}')
    assert body == b'{"total":1.10,"via":"api.example"}'
    assert x.added == [("x-total", "1.10")]


def test_digests_of_a_request_are_made_again_and_old_kinds_go() -> None:
    coming = [JSON, ("content-digest", "sha-256=:old:"), ("repr-digest", "md5=:old:"), ("content-md5", "old"),
              ("content-encoding", "gzip")]  # fmt: skip
    _, x = sent(build(request={"merge": {"a": None}}), b'{"a":1}', coming)
    assert x.added == [("content-digest", "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:")]
    assert x.dropped == {"content-digest", "repr-digest", "content-md5", "content-encoding", "digest"}


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"{", "invalid_json", 400),
        (b'{"a":1,"a":2}', "duplicate_key", 400),
        (b'{"a":2}', "invalid_field", 422),
        (b'{"a":1,"b":1}', "invalid_field", 422),
        (b'{"a":1,"t":"x\\r\\ny: 1"}', "bad_request", 400),
    ],
)
def test_a_request_that_cannot_be_changed_is_refused_s10_3(body: bytes, code: str, status: int) -> None:
    patch = [{"op": "test", "path": "/a", "value": 1}]
    filter = build(request={"set": {"/c/d": 1}, "patch": patch, "headers": {"x-t": "/t"}, "rename": {"/b": "c"}})
    with pytest.raises(Fault) as refused:
        sent(filter, body)
    assert (refused.value.code, refused.value.status) == (code, status)


def test_another_type_is_415_and_a_body_past_the_bound_413() -> None:
    filter = build(request={"drop": ["/a"]})
    with pytest.raises(Fault) as refused:
        sent(filter, b"a=1", [("content-type", "application/x-www-form-urlencoded")])
    assert refused.value.status == 415
    with pytest.raises(Fault) as refused:
        filter.on_request_head(exchange("POST", fields=[JSON], body_length=MOST + 1))
    assert refused.value.status == 413
    with pytest.raises(Fault) as refused:
        filter.on_request_body(exchange("POST", fields=[JSON], body_length=CHUNKED), b" " * (MOST + 1))
    assert refused.value.status == 413


def test_a_request_without_body_is_left_alone() -> None:
    x, filter = exchange(), build(request={"drop": ["/a"]})
    assert filter.on_request_head(x) is None
    assert filter.wants_request_body(x) is False


def test_an_answer_is_changed_and_says_so_s10_3() -> None:
    fields = [JSON, ("etag", '"1"'), ("content-encoding", "gzip"), ("x-n", "old")]
    filter = build(response={"keep": ["/items/*/id"], "headers": {"x-n": "/items/0/id"}})
    body, head = answered(filter, b'{"items":[{"id":1.0,"cost":2}],"internal":true}', fields)
    assert body == b'{"items":[{"id":1.0}]}'
    assert head.fields == [JSON, ("etag", 'W/"1"'), ("x-n", "1.0")]
    assert head.body_length == len(body)


@pytest.mark.parametrize("body", [b"{", b'{"a":1,"a":1}', b'{"b":1}', b'{"a":1,"t":"x\\ny"}'])
def test_an_answer_that_cannot_be_changed_is_502_and_leaks_nothing_s10_3(body: bytes) -> None:
    filter = build(response={"patch": [{"op": "remove", "path": "/a"}], "headers": {"x-t": "/t"}})
    with pytest.raises(Fault) as refused:
        answered(filter, body)
    assert (refused.value.code, refused.value.status) == ("bad_upstream", 502)


@pytest.mark.parametrize("length", [MOST + 1, CHUNKED])
def test_an_answer_past_the_bound_is_502(length: int) -> None:
    with pytest.raises(Fault) as refused:
        answered(build(response={"drop": ["/a"]}), b" " * (MOST + 1), length=length)
    assert (refused.value.code, refused.value.status) == ("upstream_too_large", 502)


@pytest.mark.parametrize(
    ("fields", "status", "length"),
    [([("content-type", "text/html")], 200, 9), ([JSON], 404, 9), ([JSON], 200, NO_BODY), ([JSON], 304, NO_BODY)],
)
def test_other_answers_pass_unchanged(fields: Fields, status: int, length: int) -> None:
    body, head = answered(build(response={"drop": ["/a"]}), b'{"a":1}', list(fields), status=status, length=length)
    assert (body, head.fields) == (b'{"a":1}', fields)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"request": {}},
        {"request": {"drop": ["a"]}},
        {"request": {"set": {"/a": "{status}"}}},
        {"request": {"patch": [{"op": "add"}]}},
        {"response": {"headers": {"content-length": "/a"}}},
        {"response": {"rename": {"/a": 1}}},
        {"response": {"xml": True}},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


def test_settings_survive_the_generation_file() -> None:
    config = Config.model_validate({"response": {"set": {"/a": [1, None]}, "merge": {"b": None}, "drop": ["/c"]}})
    assert Config.model_validate(config.model_dump(mode="json")) == config
