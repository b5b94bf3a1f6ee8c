"""Where SDKs put their key (LLM 2)."""

from __future__ import annotations

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.client_key import client_key, without_key


@pytest.mark.parametrize(
    ("fields", "query", "wanted"),
    [
        ({"authorization": "Bearer k"}, "", "k"),
        ({"x-api-key": "k"}, "", "k"),
        ({"api-key": "k"}, "", "k"),
        ({"x-goog-api-key": "k"}, "alt=sse", "k"),
        ({"x-goog-api-key": "k", "authorization": "Bearer k"}, "", "k"),
        ({"sec-websocket-protocol": "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1"}, "", "k"),
        ({}, "alt=sse&key=k", "k"),
        ({"authorization": "Basic eDp5"}, "", ""),
        ({}, "", ""),
    ],
)
def test_every_sdks_place_is_known(fields: dict[str, str], query: str, wanted: str) -> None:
    assert client_key(fields, query, True) == wanted


def test_a_key_in_the_query_counts_only_where_the_route_says_so() -> None:
    assert client_key({}, "key=k", False) == ""


@pytest.mark.parametrize(
    "fields", [{"x-api-key": "a", "authorization": "Bearer b"}, {"api-key": "a", "x-goog-api-key": "b"}]
)
def test_two_that_differ_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(Fault) as caught:
        client_key(fields, "", False)
    assert caught.value.reason == "ambiguous_credentials"


def test_the_key_leaves_the_query() -> None:
    assert without_key("a=1&key=secret&alt=sse") == "a=1&alt=sse"
    assert without_key("key=secret") == ""
