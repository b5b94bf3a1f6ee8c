"""Converse's counts, stops and tiers (LLM 5.8, 5.9)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Extra, Usage
from tidegate.rules.converse_usage import (
    STOP_WORDS,
    STOPS,
    read_stop,
    read_tier,
    read_usage,
    tier_object,
    usage_object,
)


def test_counts_of_caches_are_added_and_taken_off_again() -> None:
    raw = b'{"inputTokens":1,"outputTokens":2,"cacheReadInputTokens":10,"cacheWriteInputTokens":100}'
    usage = read_usage(raw, {})
    assert usage == Usage(input=111, output=2, cache_read=10, cache_write=100)
    assert usage_object(usage) == {"inputTokens": 1, "outputTokens": 2, "totalTokens": 113,
                                   "cacheReadInputTokens": 10, "cacheWriteInputTokens": 100}  # fmt: skip
    assert usage_object(Usage(input=1, cache_read=5))["inputTokens"] == 0


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'{"cacheDetails":1}', b"{"])
def test_what_is_no_usage_is_none(raw: bytes) -> None:
    assert read_usage(raw, {}) is None


def test_unknown_lives_of_caches_are_left_out() -> None:
    raw = b'{"cacheDetails":[{"ttl":"9h","inputTokens":1},{"ttl":"1h","inputTokens":-1},{"inputTokens":3}]}'
    assert read_usage(raw, {}) == Usage()
    assert usage_object(Usage(cache_write_by_ttl=((7, 1),)))["cacheDetails"] == []


def test_every_word_leads_to_a_stop_and_back_or_is_kept() -> None:
    for word, stop in STOPS.items():
        found, extra = read_stop(word, stop == "tool_calls")
        assert found == stop
        assert extra is None if STOP_WORDS[stop] == word else extra == Extra(
            "bedrock_converse", (("stopReason", b'"%b"' % word.encode()),))  # fmt: skip
    assert read_stop("", False) == ("stop", None)


def test_tiers() -> None:
    assert [read_tier(raw) for raw in (None, b"1", b'{"type":1}', b'{"type":"default"}', b'{"type":"flex"}', b"{")] == [
        "", "", "", "standard", "flex", "",
    ]  # fmt: skip
    assert [tier_object(tier) for tier in ("standard", "reserved", "batch", "")] == [
        {"type": "default"}, {"type": "reserved"}, None, None,
    ]  # fmt: skip
