"""Anthropic's usage object <-> Usage (LLM 5.9)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Usage
from tidegate.rules.content_block_usage import read_usage, usage_object
from tidegate.wire.json_object import encode

ROWS = [
    (b'{"input_tokens":1,"output_tokens":2}', Usage(input=1, output=2)),
    (b'{"input_tokens":1,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":2}',
     Usage(input=111, output=2, cache_read=10, cache_write=100)),
    (b'{"input_tokens":0,"cache_creation_input_tokens":3,"cache_creation":{"ephemeral_5m_input_tokens":1,'
     b'"ephemeral_1h_input_tokens":2},"output_tokens":0}',
     Usage(input=3, cache_write=3, cache_write_by_ttl=((300, 1), (3600, 2)))),
    (b'{"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}', Usage(output=9, thinking=4)),
    (b'{"server_tool_use":{"web_search_requests":2,"web_fetch_requests":0},"service_tier":"priority"}',
     Usage(tool_calls=(("web_search", 2),), tier="priority")),
    (b'{"service_tier":"standard","speed":"fast"}', Usage(tier="fast")),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "usage"), ROWS)
def test_usage_is_read_and_written_back(raw: bytes, usage: Usage) -> None:
    assert read_usage(raw, {}) == usage
    assert read_usage(encode(usage_object(usage)), {}) == usage


@pytest.mark.parametrize(
    "raw",
    [
        b'{"input_tokens":-1,"output_tokens":"7","cache_read_input_tokens":null}',
        b'{"cache_creation":[],"server_tool_use":7,"output_tokens_details":"x","service_tier":3}',
        b'{"input_tokens":{},"output_tokens":[1]}',
    ],
)
def test_hostile_counts_are_zero(raw: bytes) -> None:
    assert read_usage(raw, {}) == Usage()


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"7"])
def test_what_is_no_object_tells_nothing(raw: bytes) -> None:
    assert read_usage(raw, {}) is None


def test_a_huge_count_is_bounded_and_a_vendors_own_member_read() -> None:
    assert read_usage(b'{"input_tokens":1e300,"hits":5}', {"hits": "cache_read"}) == Usage(
        input=1 << 53, cache_read=5
    )  # fmt: skip


def test_the_sums_never_turn_negative_on_the_way_back() -> None:
    assert usage_object(Usage(input=1, cache_read=5))["input_tokens"] == 0
    assert usage_object(Usage(tool_calls=(("web_search", 1),)))["server_tool_use"] == {
        "web_search_requests": 1,
        "web_fetch_requests": 0,
    }
