"""What stands in a prompt for things that nobody said: facts, documents, summaries, placeholders (CRP 7.1, 8.3).

All of it is data in the role of the user, between marks. Contents are kept from closing the marks around them: a value
is one line of JSON, and in longer texts a closing mark is broken. Wordings are frozen with ``RENDERER``: whoever
changes one raises it, for a byte once sent does not change within an epoch (R1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tidegate.exchange.chat import Text
from tidegate.exchange.context import Item
from tidegate.rules.context_secrets import tokenised
from tidegate.rules.item_messages import text_of
from tidegate.wire.json_object import encode, string

RENDERER: Final = 1
"""Version of these wordings and of ``context_render``."""
RENDERERS: Final = frozenset({1})
"""Versions this program can still render."""

_CLOSING: Final = re.compile(r"</(?=(?:context|conversation|document|summary|recalled|revised)\b)", re.IGNORECASE)
_DIGEST: Final = 16
"""Hex digits of a digest in a placeholder."""


def facts_block(items: Iterable[Item]) -> Text:
    """The block of an epoch: what holds, by key. For items of one set always the same text."""
    lines = [fact_line(item) for item in sorted(items, key=_by_key)]
    return Text(text="\n".join(("<context-data>", *lines, "</context-data>")))


def changes_block(items: Iterable[Item], gone: Iterable[Item]) -> Text:
    """What has changed since the epoch's block was written."""
    lines = [fact_line(item) for item in sorted(items, key=_by_key)]
    lines += [f"{_name(item)} no longer holds" for item in sorted(gone, key=_by_key)]
    return Text(text="\n".join(('<context-data since="last block">', *lines, "</context-data>")))


def _by_key(item: Item) -> tuple[str, str]:
    return item.key, item.id


def _name(item: Item) -> str:
    return item.key or f"{item.type} {item.id}"


def fact_line(item: Item) -> str:
    """``travel.class: "second"`` on one line, its time and place behind it where it has them."""
    item = tokenised(item)
    value = item.content.replace(b"\n", b" ").replace(b"\r", b" ").decode("utf-8", "replace") or "null"
    told = []
    if item.geo is not None and item.geo.point is not None:
        told.append(f"at {item.geo.point[1]!r}, {item.geo.point[0]!r}")
    if item.about:
        told.append("about " + encode(list(item.about)).decode())
    behind = f" ({'; '.join(told)})" if told else ""
    return _safe(f"{_name(item)}: {value}{behind}")


def document_text(item: Item) -> Text:
    """A document where it was inserted. Its title is JSON, for it comes from outside too."""
    item = tokenised(item)
    title = item.extra.get("title", b"")
    named = f" title={_safe(title.decode('utf-8', 'replace'))}" if title[:1] == b'"' else ""
    return Text(text=f'<document id="{item.id}"{named}>\n{_safe(text_of(item))}\n</document>')


def summary_text(item: Item) -> Text:
    """What stands for the older part of the talk."""
    return Text(text=f"<summary>\n{_safe(text_of(item))}\n</summary>")


def recalled_text(item: Item) -> Text:
    """An elided item brought back for this turn, with its id."""
    return Text(text=f'<recalled id="{item.id}" type="{item.type}">\n{_safe(text_of(item))}\n</recalled>')


def revised_text(item: Item) -> Text:
    """The new words of an item whose old ones stand further up."""
    return Text(text=f'<revised id="{item.id}" type="{item.type}">\n{_safe(text_of(item))}\n</revised>')


def placeholder_text(item: Item) -> Text:
    """What is left of an elided item, so that the model or the client can ask for it back (CRP 8.3)."""
    digest = item.digest.hex()[:_DIGEST]
    return Text(text=f"[elided: id {item.id}, type {item.type}, digest {digest}, tokens {item.tokens}]")


def placeholder_arguments(item: Item) -> str:
    """The same as the arguments of a call, which must be an object."""
    return encode({"elided": item.id, "digest": item.digest.hex()[:_DIGEST], "tokens": item.tokens}).decode()


def transcript(items: Sequence[Item]) -> str:
    """*items* as a text for a summariser: one paragraph each, with who said it."""
    lines = []
    for item in items:
        who = item.role or item.type
        if item.type in ("tool_call", "tool_result"):
            who = f"{item.type} {item.name}".rstrip()
        lines.append(f"[{who}] {_safe(text_of(item))}")
    return "\n\n".join(lines)


def _safe(text: str) -> str:
    return _CLOSING.sub("< /", text)


def plain(value: bytes) -> str:
    """A JSON value as it is put into a text: a string's own characters, anything else its JSON."""
    return string(value) if value[:1] == b'"' else value.decode("utf-8", "replace")
