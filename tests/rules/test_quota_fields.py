"""A provider's rate-limit fields, before it refuses (LLM 9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.quota_fields import rest_after, span_of


def openai(kind: str, limit: str, remaining: str, reset: str) -> list[tuple[str, str]]:
    return [
        (f"x-ratelimit-limit-{kind}", limit),
        (f"x-ratelimit-remaining-{kind}", remaining),
        (f"x-ratelimit-reset-{kind}", reset),
    ]


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], 0.0),
        (openai("requests", "60", "1", "1s"), 0.0),
        (openai("requests", "60", "0", "1s"), 1.0),
        (openai("tokens", "100000", "1001", "2s"), 0.0),
        (openai("tokens", "100000", "999", "2s"), 2.0),
        (openai("tokens", "100000", "0", "20ms") + openai("requests", "60", "0", "12s"), 12.0),
        (openai("requests", "60", "0", "6m0s"), 60.0),
        (openai("requests", "60", "-1", "1s"), 0.0),
        (openai("requests", "60", "zero", "1s"), 0.0),
        ([("x-ratelimit-remaining-requests", "0")], 0.0),
        ([("anthropic-ratelimit-requests-remaining", "0"), ("anthropic-ratelimit-requests-reset", "x")], 0.0),
    ],
)
def test_a_target_with_nothing_left_is_left_alone_until_its_reset(
    fields: list[tuple[str, str]], seconds: float
) -> None:
    assert rest_after("openai", fields, 0.0) == seconds


def test_anthropics_reset_is_a_moment() -> None:
    fields = [
        ("anthropic-ratelimit-input-tokens-limit", "1000"),
        ("anthropic-ratelimit-input-tokens-remaining", "0"),
        ("anthropic-ratelimit-input-tokens-reset", "2023-11-14T22:13:30Z"),
    ]
    assert rest_after("anthropic", fields, 1_700_000_000.0) == 10.0
    assert rest_after("anthropic", fields, 1_800_000_000.0) == 0.0
    assert rest_after("openai", fields, 1_700_000_000.0) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12.0), ("6m0s", 360.0), ("1h2m3s", 3723.0), ("20ms", 0.02), ("1.5s", 1.5), ("", 0.0), ("s", 0.0),
     ("1.2.3s", 0.0), ("5x", 0.0), ("5x1s", 0.0)],
)  # fmt: skip
def test_spans_are_read_as_openai_writes_them(text: str, seconds: float) -> None:
    assert span_of(text) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_hostile_fields_never_break_and_never_rest_for_long(remaining: str, reset: str) -> None:
    for style, kind in (("openai", "x-ratelimit-{}-tokens"), ("anthropic", "anthropic-ratelimit-tokens-{}")):
        fields = [(kind.format("remaining"), remaining), (kind.format("reset"), reset)]
        assert 0.0 <= rest_after(style, fields, 0.0) <= 60.0
