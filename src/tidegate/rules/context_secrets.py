"""Contents of class ``secret`` never leave the gateway: what a model is shown in their place (CRP 10)."""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.context import Item

OPENING: Final = "⟦secret:"
CLOSING: Final = "⟧"

_encode: Final = msgspec.json.Encoder().encode


def token_of(item: Item) -> str:
    """What stands for *item*: by its key, which says what it is and not what it says, else by its id."""
    return f"{OPENING}{item.key or item.id}{CLOSING}"


def tokenised(item: Item) -> Item:
    """*item* as it may be rendered: itself, unless it is secret. Of a call the arguments are an object still."""
    if item.privacy != "secret":
        return item
    token = token_of(item)
    content = _encode(_encode({"secret": token}).decode() if item.type == "tool_call" else token)
    return msgspec.structs.replace(item, content=content, about=(), geo=None, extra={})
