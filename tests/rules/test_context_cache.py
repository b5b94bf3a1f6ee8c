"""What is hoped of a provider's cache, and why it did less (R5, CRP 7.5)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Usage
from tidegate.exchange.context import CacheReport, TokenUse
from tidegate.rules.context_cache import Warm, cache_key, expected, reason, report, used, wants_marks

LAST = Warm("openai", "m", 1000, 5000, "s", "t", "e")
NOW = LAST._replace(at=2000, tokens=5400)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"provider": "x"}, "provider_changed"),
        ({"model": "x"}, "model_changed"),
        ({"tools": "x"}, "tools_changed"),
        ({"system": "x"}, "system_changed"),
        ({"epoch": "x"}, "messages_changed"),
        ({"at": 1000 + 300_001}, "ttl_elapsed"),
    ],
)
def test_7_5_each_cause_has_its_name(change: dict[str, object], why: str) -> None:
    now = NOW._replace(**change)
    assert reason(LAST, now, 5400) == why
    assert expected(LAST, now, 5400) == (0 if why else 5000)


def test_7_5_a_short_prefix_is_below_the_minimum_and_the_first_call_knows_nothing() -> None:
    assert reason(LAST._replace(tokens=1023), NOW, 5400) == "below_minimum"
    assert reason(None, NOW, 5400) == "unknown"
    assert report(None, NOW, 5400, 0, "") == CacheReport(0, 0, "", "")


def test_7_5_less_than_was_hoped_has_a_reason() -> None:
    assert report(LAST, NOW, 5400, 4992, "") == CacheReport(5000, 4992, "", "")
    assert report(LAST, NOW, 5400, 0, "") == CacheReport(5000, 0, "unknown", "")
    assert report(LAST, NOW._replace(epoch="x"), 5400, 0, "it_1") == CacheReport(0, 0, "messages_changed", "it_1")
    assert report(LAST, NOW, 5400, None, "") == CacheReport(5000, None, "", "")


def test_r5_a_key_names_the_conversation_to_those_who_take_one() -> None:
    key = cache_key("openai", b"salt", frozenset())
    assert len(key) == 32 and key == cache_key("openai", b"salt", frozenset()) != cache_key(
        "openai", b"tlas", frozenset()
    )
    assert cache_key("mistral", b"salt", frozenset()) == "" == cache_key("openai", b"salt", frozenset({"cache"}))


def test_r5_marks_are_set_where_the_vendor_reads_them() -> None:
    assert wants_marks("anthropic_messages", {}, frozenset())
    assert not wants_marks("anthropic_messages", {}, frozenset({"cache"}))
    assert not wants_marks("openai_chat", {}, frozenset())
    assert wants_marks("openai_chat", {"prompt_cache_breakpoint": "cache_control"}, frozenset())


def test_what_the_provider_reports_is_kept_in_words_of_a_version() -> None:
    assert used(None) == TokenUse()
    assert used(Usage(input=10, output=2, cache_read=5, cache_write=3)) == TokenUse(
        sent=10, cached=5, written=3, output=2
    )
