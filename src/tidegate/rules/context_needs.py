"""What a call on a kept conversation needs of a model, without making turns of all that was ever said."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tidegate.exchange.chat import ChatRequest
from tidegate.exchange.context import Item
from tidegate.rules.capability import Needs, needs_of
from tidegate.rules.item_messages import messages_of

LOOP = frozenset({"tool_call", "tool_result", "reasoning"})
"""Types of a running tool loop, with what the assistant says between them."""


def loop_start(items: Sequence[Item], known: int) -> int:
    """Where the tool loop begins that the items from *known* on go on with; *known* where there is none."""
    if known == len(items) or items[known].type != "tool_result":
        return known
    start = known
    while start and (items[start - 1].type in LOOP or items[start - 1].role == "assistant"):
        start -= 1
    return start


def needs_behind(request: ChatRequest, older: Sequence[Item]) -> Needs:
    """The needs of *request*, which holds the settings and the newest turns, with *older* items before them. Plain text
    is measured as it lies; only what may hold media is looked into."""
    needs = needs_of(request)
    text = sum([len(item.content) for item in older])
    parts = [item for item in older if item.content[:1] == b"["]
    if not parts:
        return replace(needs, text=needs.text + text)
    others = needs_of(ChatRequest("", messages_of(parts)))
    return replace(
        needs, text=needs.text + text, media=needs.media + others.media, features=needs.features | others.features
    )
