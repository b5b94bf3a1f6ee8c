"""What a conversation is known by between its calls (LLM 9): its client's id for it, else a digest of how it begins.

The beginning is what providers keep warm: system text, tools, the first turn of the user. Every dialect's names for
these are known here, so a body that passes unread needs no translation. What is looked at is bounded, however long the
body is. Names are digests: nothing of a text can be read from one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import xxhash

SYSTEM: Final = ("system", "instructions", "systemInstruction", "system_instruction")
TOOLS: Final = ("tools", "functions", "toolConfig", "tool_config")
TURNS: Final = ("messages", "contents", "input")
SHARE: Final = 4096
"""Characters of the system text, of the tools and of the first turns that are looked at, each: with their lengths that
tells conversations apart, and costs some microseconds."""
OPENING: Final = 16
"""Turns in which the first one of the user is looked for: system and developer turns stand before it."""
MEMBERS: Final = 256
"""Values of one list or object that are looked at."""
ID: Final = 1024
"""Characters of a client's id that count."""
MOVING: Final = frozenset({"cache_control", "cachePoint", "cache_point"})
"""Marks that clients move on from turn to turn."""
NOBODY: Final = frozenset({"system", "developer"})
"""Roles of turns that stand before the user's."""


def conversation_name(members: Mapping[str, Any], given: str, consumer: str) -> str:
    """32 hex digits; "" for a call that is no conversation. *members*: the body's top level; *given*: the field
    ``context-id``; an id is its consumer's own, a beginning is everybody's who begins so."""
    for id in (given, members.get("context_id"), members.get("session_id")):
        if isinstance(id, str) and id:
            return _digest(["id", consumer, id[:ID]])
    pieces: list[str] = []
    if not _begin(members, pieces):
        return ""
    for names in (SYSTEM, TOOLS):
        left = SHARE
        for name in names:
            if name in members and left > 0:
                pieces.append(name)
                left = _take(members[name], pieces, left)
    return _digest(pieces)


def _begin(members: Mapping[str, Any], pieces: list[str]) -> bool:
    """Take the turns up to the first of the user; is there one?"""
    prompt = members.get("prompt")
    if isinstance(prompt, str) and prompt:
        pieces.append(prompt[:SHARE])  # it only ever grows: its length says nothing
        return True
    for name in TURNS:
        turns = members.get(name)
        if isinstance(turns, str) and turns:
            _take(turns, pieces, SHARE)
            return True
        if isinstance(turns, list):
            left = SHARE
            for turn in turns[:OPENING]:
                left = _take(turn, pieces, left)
                role = turn.get("role", "user") if isinstance(turn, dict) else "user"
                if role not in NOBODY:
                    return True
    return False


def _take(value: Any, pieces: list[str], left: int) -> int:
    """Add the texts and names of *value*, at most *left* characters; what is left then. A part that is nothing but
    text and the text alone come to the same."""
    stack = [value]
    while stack and left > 0:
        each = stack.pop()
        if isinstance(each, str):
            piece = each[:left]
            pieces.append(str(len(each)))
            pieces.append(piece)
            left -= len(piece) + 1
        elif isinstance(each, dict):
            text = each.get("text")
            if isinstance(text, str):
                stack.append(text)
                continue
            for name, inner in islice(each.items(), MEMBERS):
                if name not in MOVING:
                    pieces.append(name)
                    left -= len(name) + 1
                    stack.append(inner)
        elif isinstance(each, list):
            stack.extend(reversed(each[:MEMBERS]))
        else:
            pieces.append(repr(each))
            left -= 8
    return left


def _digest(pieces: list[str]) -> str:
    return xxhash.xxh3_128_hexdigest("\0".join(pieces).encode("utf-8", "surrogatepass"))
