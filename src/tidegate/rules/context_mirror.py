"""A kept conversation in the words of the Responses dialect: items, pages of them, conversations (CRP 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import Message, SealedThought, Text, Thought, ToolCall, ToolResult
from tidegate.exchange.context import Item
from tidegate.exchange.context_ids import conversation_id
from tidegate.exchange.context_log import Meta
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.item_messages import parts_of
from tidegate.rules.response_answer import as_it_is, own_id
from tidegate.wire.response_item_writer import ItemWriter, Manner, call_item, output_part, reasoning_item

PAGE: Final = 20
LONGEST_PAGE: Final = 100
METADATA: Final = 16
"""Pairs; keys of 64 characters, values of 512."""

_MANNER: Final = Manner("", frozenset(), {}, as_it_is, own_id)
_read_about: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode
_write_about: Final = msgspec.msgpack.Encoder().encode


def response_item(item: Item) -> dict[str, Any] | None:
    """*item* as an item of a response or a conversation, under its own id; None for what that dialect has no word for
    (facts, places, what was redacted)."""
    parts = parts_of(item) if item.type in ("message", "tool_call", "tool_result", "reasoning") else ()
    if item.type == "tool_call":
        call = parts[0]
        assert isinstance(call, ToolCall)
        body = call_item(call, call.name, as_it_is, own_id)
    elif item.type == "tool_result":
        result = parts[0]
        assert isinstance(result, ToolResult)
        body = written(Message("tool", (result,)))
        body["status"] = "completed"
    elif item.type == "reasoning":
        thoughts = [part for part in parts if isinstance(part, (Thought, SealedThought))]
        if not thoughts:
            return None
        body = reasoning_item(thoughts, item.id, own_id)
    elif item.type == "message":
        if item.role == "assistant":
            body = {"type": "message", "role": "assistant", "content": [output_part(part) for part in parts]}
            for part in body["content"]:
                if part["type"] == "output_text":
                    part.setdefault("logprobs", [])
        else:
            role = item.role if item.role in ("user", "system") else "user"
            body = {"type": "message", **written(Message(role, parts or (Text(text=""),)))}  # type: ignore[arg-type]
            if isinstance(body["content"], str):
                body["content"] = [{"type": "input_text", "text": body["content"]}]
        body["status"] = "completed"
    else:
        return None
    body["id"] = item.id
    return body


def written(message: Message) -> dict[str, Any]:
    """The one item that *message* is."""
    found: dict[str, Any] = ItemWriter(_MANNER, []).items([(0, message)])[0]
    return found


def page_of(items: Sequence[Item], order: str, after: str, before: str, limit: int) -> dict[str, Any]:
    """A list as that dialect pages it: the newest first unless *order* is ``asc``, behind the item *after*. Raises 404
    for an item that is not there."""
    found = [told for item in items if (told := response_item(item)) is not None]
    if order != "asc":
        found.reverse()
    ids = [told["id"] for told in found]
    for name in (after, before):
        if name and name not in ids:
            raise Fault("not_found", "No item has this id.", side=CLIENT)
    start = ids.index(after) + 1 if after else 0
    end = ids.index(before) if before else len(found)
    page = found[start:end][:limit]
    return {
        "object": "list", "data": page, "has_more": end - start > len(page),
        "first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None,
    }  # fmt: skip


def conversation_object(meta: Meta) -> dict[str, Any]:
    """The context as a conversation."""
    return {"id": conversation_id(meta.id), "object": "conversation", "created_at": meta.created // 1000,
            "metadata": metadata_of(meta.about)}  # fmt: skip


def metadata_of(about: bytes) -> dict[str, str]:
    """What a client wrote on its conversation."""
    if not about:
        return {}
    found = _read_about(about).get("metadata", {})
    return found if isinstance(found, dict) else {}


def with_metadata(about: bytes, metadata: dict[str, str]) -> bytes:
    """*about* of a context with other metadata; what else it holds stays."""
    return _write_about({**(_read_about(about) if about else {}), "metadata": metadata})


def read_metadata(value: Any) -> dict[str, str]:
    """Metadata as a client writes it. Raises 400 ``invalid_request``."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > METADATA:
        raise Fault("invalid_request", f"metadata is an object of at most {METADATA} members.", side=CLIENT)
    for key, told in value.items():
        if len(key) > 64 or not isinstance(told, str) or len(told) > 512:
            raise Fault("invalid_request", "metadata: keys have at most 64 characters, values 512.", side=CLIENT)
    return value
