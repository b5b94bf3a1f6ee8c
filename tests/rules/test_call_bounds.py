"""What a body does not tell of a call (LLM 10)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.exchange.chat import Usage
from tidegate.rules.call_bounds import made, reads_unseen


@pytest.mark.parametrize(
    ("members", "unseen"),
    [
        ({"previous_response_id": "resp_1"}, True),
        ({"previous_response_id": None}, False),
        ({"conversation": {"id": "c"}}, True),
        ({"cachedContent": "cachedContents/1"}, True),
        ({"prompt": {"id": "pmpt_1"}}, True),
        ({"prompt": "plain words"}, False),
        ({"messages": []}, False),
    ],
)
def test_a_call_that_builds_on_what_its_provider_keeps_reads_more_than_its_body(
    members: dict[str, Any], unseen: bool
) -> None:
    assert reads_unseen(members) is unseen


def test_pictures_sound_and_searches_are_bounded_by_what_is_asked() -> None:
    assert made("images", {"n": 3}, 100) == (3 * 8192, Usage(images=3))
    assert made("images", {"n": -3}, 100) == (8192, Usage(images=1))
    assert made("images_edits", {"n": "9"}, 100) == (8192, Usage(images=1))
    assert made("speech", {"input": "abcd"}, 20) == (40, Usage(characters=4))
    assert made("transcriptions", {}, 20_000) == (80, Usage(ms_in=10_000))
    assert made("rerank", {}, 10) == (0, Usage(searches=1))
    assert made("embeddings", {}, 10) == (0, Usage())
