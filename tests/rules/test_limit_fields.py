"""Our limits in the words of a client's vendor (LLM 10, 15)."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.limit_fields import Seen, limit_fields, moment, span

SEEN = [
    Seen("requests", 600, 60.0, 599, 0.1),
    Seen("in_flight", 50, 1.0, 1, 0.0),
    Seen("requests", 100, 60.0, 3, 12.5),
    Seen("tokens", 200_000, 60.0, 150_000, 90.0),
]


def test_the_tightest_of_each_kind_is_told_in_the_standard_fields() -> None:
    assert limit_fields("cohere_chat", SEEN, 0.0) == [
        ("ratelimit-policy", '"requests";q=100;w=60, "tokens";q=200000;qu="tokens";w=60'),
        ("ratelimit", '"requests";r=3;t=13, "tokens";r=150000;t=90'),
    ]
    assert limit_fields("cohere_chat", [SEEN[1]], 0.0) == []


def test_openais_clients_hear_openais_fields() -> None:
    assert limit_fields("openai_responses", SEEN, 0.0)[2:] == [
        ("x-ratelimit-limit-requests", "100"),
        ("x-ratelimit-remaining-requests", "3"),
        ("x-ratelimit-reset-requests", "12.5s"),
        ("x-ratelimit-limit-tokens", "200000"),
        ("x-ratelimit-remaining-tokens", "150000"),
        ("x-ratelimit-reset-tokens", "1m30s"),
    ]


def test_anthropics_clients_hear_a_moment() -> None:
    assert limit_fields("anthropic_messages", SEEN[:1], 1_700_000_000.0)[2:] == [
        ("anthropic-ratelimit-requests-limit", "600"),
        ("anthropic-ratelimit-requests-remaining", "599"),
        ("anthropic-ratelimit-requests-reset", "2023-11-14T22:13:21Z"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.0194, "20ms"), (1.0, "1s"), (1.5, "1.5s"), (360.0, "6m0s"), (3661.0, "1h1m1s")],
)
def test_spans_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.integers(0, 4_102_444_800))
def test_moments_are_those_of_the_calendar(seconds: int) -> None:
    expected = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert moment(float(seconds)) == expected
