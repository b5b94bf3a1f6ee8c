"""What makes two calls the same turn, and what the second one is told (CRP 5.2, 5.6)."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from tidegate.engine.contexts.repository import Held
from tidegate.engine.models.asking import ModelCall
from tidegate.exchange.chat import ChatAnswer, Choice, Part, Usage
from tidegate.exchange.context import Added
from tidegate.rules.item_messages import messages_of

ADDRESSES: Final = ("context-id", "context-parent", "context-branch")
"""Fields that address a context."""

_read_usage: Final = msgspec.json.Decoder(Usage).decode


def fingerprint(call: ModelCall) -> bytes:
    """What makes two requests the same one: where they go, what they address, what they say."""
    fields = call.x.head.index
    address = "\0".join([call.x.path, *[f"{name}={fields[name]}" for name in ADDRESSES if name in fields]])
    return sha256(address.encode() + b"\0" + call.body).digest()


def retried(fields: dict[str, str]) -> bool:
    """Does an SDK say that it tries again by itself?"""
    text = fields.get("x-stainless-retry-count", "")
    return text.isdecimal() and len(text) < 10 and int(text) >= 1


def answer_of(held: Held, version: str, id: str) -> ChatAnswer:
    """What the model said in *version*, as an answer with the id *id*."""
    parts: tuple[Part, ...] = ()
    for entry in held.history.entries(version):
        if entry.kind != "commit":
            continue
        for change in entry.changes:
            if isinstance(change, Added):
                for message in messages_of(change.items):
                    parts += message.parts
    told = held.history.versions[version].answer
    if told is None:
        return ChatAnswer(id=id, choices=(Choice(0, parts),))
    choice = Choice(0, parts, told.stop or "stop", told.stop_sequence)  # type: ignore[arg-type]
    usage = _read_usage(told.usage) if told.usage else None
    return ChatAnswer(id=id, model=told.model, created=told.created, choices=(choice,), usage=usage)
