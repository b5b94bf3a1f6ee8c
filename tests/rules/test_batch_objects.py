"""Batches as their provider tells of them (LLM 7)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.exchange.chat import Usage
from tidegate.rules.batch_objects import MOST, OLDEST, EndedBatch, batch_id, booked_at, ended_batches

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 130,
}
OVER = {
    "id": "batch_1",
    "object": "batch",
    "status": "completed",
    "model": "up-model",
    "completed_at": 1_700_000_000,
    "usage": USAGE,
}
USED = Usage(input=100, output=30, cache_read=40, thinking=10, tier="batch")


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_a_batch_that_is_over_tells_what_it_used(status: str) -> None:
    batch = {**OVER, "status": status, f"{status}_at": 1_700_000_001}
    assert ended_batches(batch) == [EndedBatch("batch_1", "up-model", 1_700_000_001.0, USED)]


@pytest.mark.parametrize(
    "more",
    [
        {"status": "in_progress"},
        {"status": "cancelling"},
        {"status": None},
        {"status": ["completed"]},
        {"id": None},
        {"id": "x" * 129},
        {"id": "a\nb"},
        {"usage": None},
        {"usage": {"input_tokens": 0, "output_tokens": 0}},
        {"usage": {"input_tokens": -5, "output_tokens": True}},
    ],
)
def test_what_is_under_way_or_tells_nothing_is_not_booked(more: dict[str, Any]) -> None:
    assert ended_batches({**OVER, **more}) == []


def test_counts_in_the_shape_of_chat_are_read_and_nothing_is_believed_beyond_its_whole() -> None:
    told = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}}
    (batch,) = ended_batches({**OVER, "usage": told, "model": 7, "completed_at": "soon"})
    assert batch == EndedBatch("batch_1", "", 0.0, Usage(input=5, output=2, cache_read=5, tier="batch"))


def test_a_list_is_read_up_to_a_bound() -> None:
    assert len(ended_batches({"object": "list", "data": [OVER, {}, 3]})) == 1
    assert len(ended_batches({"data": [OVER] * (MOST + 5)})) == MOST
    assert ended_batches([OVER]) == ended_batches(None) == []
    assert (batch_id(OVER), batch_id({"data": [OVER], "id": "x"}), batch_id("x")) == ("batch_1", "", "")


def test_a_batch_is_booked_at_its_end_if_that_can_be() -> None:
    now = 1_700_000_000.0
    assert booked_at(now - 5.0, now) == now - 5.0
    assert booked_at(now + 1.0, now) == booked_at(0.0, now) == booked_at(now - OLDEST, now) == now
