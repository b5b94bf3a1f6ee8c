"""Wishes of a client (LLM 15)."""

from __future__ import annotations

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.wishes import tags_of, timeout_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0.0), ("30", 30.0), ("30s", 30.0), ("1500ms", 1.5), ("2m", 120.0), ("0.5s", 0.5)]
)
def test_a_timeout_is_a_span(text: str, seconds: float) -> None:
    assert timeout_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1s", "1h", "soon", "1e9", "9999999s", "30 s", "٣s"])
def test_any_other_timeout_is_refused(text: str) -> None:
    with pytest.raises(Fault) as caught:
        timeout_of(text)
    assert (caught.value.code, caught.value.reason) == ("invalid_request", "timeout")


def test_tags_are_words_between_commas_each_once() -> None:
    assert tags_of("") == ()
    assert tags_of("team:search, eval ,eval,,run=7") == ("team:search", "eval", "run=7")


@pytest.mark.parametrize("text", ["a b", "é", "x" * 65, ",".join(f"t{n}" for n in range(17)), '"a"'])
def test_other_tags_are_refused(text: str) -> None:
    with pytest.raises(Fault) as caught:
        tags_of(text)
    assert caught.value.reason == "tags"
