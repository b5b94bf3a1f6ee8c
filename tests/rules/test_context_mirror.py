"""Twin of rules/context_mirror.py (CRP 2.3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tidegate.exchange.chat import Message as Turn
from tidegate.exchange.chat import SealedThought, Text, Thought, ToolCall, ToolResult
from tidegate.exchange.context import Item
from tidegate.exchange.context_log import Meta
from tidegate.exchange.fault import Fault
from tidegate.rules.context_mirror import (
    conversation_object,
    metadata_of,
    page_of,
    read_metadata,
    response_item,
    with_metadata,
)
from tidegate.rules.item_messages import items_of


def item_of(role: Any, *parts: Any) -> Item:
    return msgspec.structs.replace(items_of((Turn(role, parts),))[0], id="it_1")


def test_each_kind_of_item_has_its_word() -> None:
    assert response_item(item_of("user", Text(text="hi"))) == {
        "type": "message", "id": "it_1", "role": "user", "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
    }  # fmt: skip
    assert response_item(item_of("assistant", Text(text="yo"))) == {
        "type": "message", "id": "it_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "yo", "annotations": [], "logprobs": []}],
    }  # fmt: skip
    assert response_item(item_of("assistant", ToolCall(id="c", name="f", arguments="{}"))) == {
        "type": "function_call", "id": "it_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed",
    }  # fmt: skip
    assert response_item(item_of("tool", ToolResult(call_id="c", parts=(Text(text="ok"),)))) == {
        "type": "function_call_output", "id": "it_1", "call_id": "c", "output": "ok", "status": "completed",
    }  # fmt: skip
    thought = response_item(item_of("assistant", Thought(text="hm", summary=True), SealedThought(data=b"s")))
    assert thought is not None and (thought["type"], thought["id"]) == ("reasoning", "it_1")


@pytest.mark.parametrize("type_", ["fact", "place", "redacted", "acme:widget"])
def test_what_the_dialect_has_no_word_for_is_left_out(type_: str) -> None:
    assert response_item(Item(id="it_1", type=type_, key="k", content=b'"x"')) is None


def items(*ids: str) -> list[Item]:
    return [Item(id=id, type="message", role="user", content=b'"x"') for id in ids]


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["data"]]


def test_pages_go_both_ways() -> None:
    four = items("a", "b", "c", "d")
    assert ids(page_of(four, "desc", "", "", 3)) == ["d", "c", "b"]
    page = page_of(four, "asc", "a", "", 2)
    assert (ids(page), page["has_more"], page["first_id"], page["last_id"]) == (["b", "c"], True, "b", "c")
    assert ids(page_of(four, "asc", "a", "d", 9)) == ["b", "c"]
    empty = page_of([], "asc", "", "", 9)
    assert (empty["data"], empty["has_more"], empty["first_id"]) == ([], False, None)
    with pytest.raises(Fault, match="not_found"):
        page_of(four, "asc", "z", "", 9)


def test_metadata_lies_beside_whatever_else_is_known_of_a_context() -> None:
    about = with_metadata(b"", {"a": "1"})
    assert metadata_of(about) == {"a": "1"}
    assert metadata_of(with_metadata(about, {"b": "2"})) == {"b": "2"}
    assert metadata_of(b"") == {}
    meta = Meta(tenant="t", id="ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B", created=1500, about=about)
    assert conversation_object(meta) == {
        "id": "conv_01J9ZK3V7Q2M8N4R6T0W5X1Y3B", "object": "conversation", "created_at": 1, "metadata": {"a": "1"},
    }  # fmt: skip


def test_metadata_of_a_client_is_bounded() -> None:
    assert read_metadata(None) == {}
    full = {f"{number:064}": "v" * 512 for number in range(16)}
    assert read_metadata(full) == full
    for bad in ([], {"k": 1}, {"k" * 65: ""}, {"k": "v" * 513}, {str(number): "" for number in range(17)}):
        with pytest.raises(Fault, match="invalid_request"):
            read_metadata(bad)
