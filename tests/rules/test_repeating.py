"""Which calls are not repeated (LLM 9)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.rules.repeating import changes_state


@pytest.mark.parametrize(
    ("kind", "method", "members", "expected"),
    [
        ("chat", "POST", {}, False),
        ("chat", "POST", {"store": True}, True),
        ("chat", "POST", {"store": False}, False),
        ("chat", "POST", {"previous_response_id": "resp_1"}, True),
        ("chat", "POST", {"background": False}, False),
        ("chat", "POST", {"background": True}, True),
        ("chat", "POST", {"tools": [{"type": "function", "function": {}}]}, False),
        ("chat", "POST", {"tools": [{"type": "custom", "input_schema": {}}]}, False),
        ("chat", "POST", {"tools": [{"name": "f", "input_schema": {}}]}, False),
        ("chat", "POST", {"tools": [{"type": "web_search"}]}, True),
        ("chat", "POST", {"tools": ["?"]}, False),
        ("files", "GET", {}, False),
        ("files", "POST", {}, True),
        ("batches", "POST", {}, True),
        ("stored", "DELETE", {}, True),
        ("embeddings", "POST", {}, False),
    ],
)
def test_what_a_provider_keeps_or_does_is_not_asked_for_twice(
    kind: str, method: str, members: dict[str, Any], expected: bool
) -> None:
    assert changes_state(kind, method, members) is expected
