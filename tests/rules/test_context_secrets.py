"""A secret is named, never shown (CRP 10, #55)."""

from __future__ import annotations

import json

import pytest

from tidegate.exchange.chat import Text, ToolCall, ToolResult
from tidegate.exchange.context import Geo, Item
from tidegate.rules.context_secrets import tokenised
from tidegate.rules.context_words import document_text, fact_line
from tidegate.rules.item_messages import estimate, messages_of, parts_of, read_extra, text_of

WORD = "correct-horse"


@pytest.mark.parametrize("privacy", ["public", "internal", "personal", "sensitive"])
def test_other_classes_stay_as_they_are(privacy: str) -> None:
    item = Item(id="it_1", type="message", role="user", content=b'"hi"', privacy=privacy)  # type: ignore[arg-type]
    assert tokenised(item) is item


def test_a_secret_is_named_by_its_key_else_by_its_id() -> None:
    item = Item(id="it_1", type="fact", key="door.code", content=b'"1234"', privacy="secret",
                geo=Geo(point=(1.0, 2.0)), about=("doors",), extra={"dialect": b'{"raw":"1234"}'})  # fmt: skip
    shown = tokenised(item)
    assert json.loads(shown.content) == "⟦secret:door.code⟧"
    assert (shown.geo, shown.about, shown.extra, shown.id, shown.key) == (None, (), {}, "it_1", "door.code")
    assert json.loads(tokenised(Item(id="it_2", type="message", content=b'"x"', privacy="secret")).content) == (
        "⟦secret:it_2⟧")  # fmt: skip


@pytest.mark.parametrize("content", [f'"{WORD}"', f'[{{"part":"text","text":"{WORD}"}}]', f'{{"password":"{WORD}"}}'])
@pytest.mark.parametrize("kind", ["message", "tool_call", "tool_result", "document", "media", "reasoning", "fact"])
def test_no_way_of_rendering_shows_it_55(kind: str, content: str) -> None:
    extra = {"dialect": {"raw": WORD}, "arguments": {"a": WORD}, "title": WORD}
    item = Item(id="it_1", type=kind, role="user", content=content.encode(), privacy="secret", call_id="c", name="n",
                extra={name: json.dumps(value).encode() for name, value in extra.items()})  # fmt: skip
    told = repr((messages_of((item,)), parts_of(item), text_of(item), read_extra(item), fact_line(item)))
    told += repr(document_text(item))
    assert WORD not in told
    assert estimate(item) < 32


def test_a_call_keeps_arguments_that_are_an_object_and_its_result_its_place() -> None:
    call = Item(
        id="it_1", type="tool_call", content=f'{{"p":"{WORD}"}}'.encode(), privacy="secret", call_id="c", name="n"
    )
    result = Item(id="it_2", type="tool_result", content=f'"{WORD}"'.encode(), privacy="secret", call_id="c", name="n")
    one, two = messages_of((call, result))
    assert isinstance(one.parts[0], ToolCall)
    assert json.loads(one.parts[0].arguments) == {"secret": "⟦secret:it_1⟧"}
    assert two.parts == (ToolResult(call_id="c", name="n", parts=(Text(text="⟦secret:it_2⟧"),)),)
