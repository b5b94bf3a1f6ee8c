"""Names, patterns and lists of models (LLM 9)."""

from __future__ import annotations

import pytest

from tidegate.rules.model_access import allowed, longest, matches, within


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        ("fast", "fast", True),
        ("fast", "faster", False),
        ("claude-*", "claude-haiku-4-5", True),
        ("claude-*", "claude-", True),
        ("*-mini", "gpt-4o-mini", True),
        ("a*a", "a", False),
        ("*", "anything/at:all", True),
        ("[a]*", "a", False),
    ],
)
def test_a_pattern_is_a_name_with_one_star(pattern: str, name: str, wanted: bool) -> None:
    assert matches(pattern, name) is wanted


def test_a_key_only_narrows_what_its_consumer_may() -> None:
    assert allowed((), "fast")
    assert allowed((("fast", "claude-*"), ("claude-*",)), "claude-1")
    assert not allowed((("fast", "claude-*"), ("claude-*",)), "fast")
    assert not allowed(((),), "fast")


def test_the_longest_prefix_wins() -> None:
    patterns = (("claude-haiku-", 1), ("claude-", 2), ("", 3))
    assert [longest(patterns, name) for name in ("claude-haiku-4", "claude-x", "gpt")] == [1, 2, 3]
    assert longest(patterns[:2], "gpt") is None


def test_a_consumer_bound_to_a_region_never_leaves_it() -> None:
    assert within((), ()) and within((), ("us",)) and within(("eu",), ("us", "eu"))
    assert not within(("eu",), ("us",)) and not within(("eu",), ())
