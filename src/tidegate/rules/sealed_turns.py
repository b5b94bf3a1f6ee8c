"""Seals of turns that call tools (LLM 5.6): what a vendor must see again, taken out of an answer and put back into the
history of a client that dropped it. Pure; where they are kept meanwhile is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tidegate.exchange.chat import ChatRequest, Message, Origin, Part, SealedThought, Thought, ToolCall, ToolResult

ENTRY: Final = 256
"""Bytes that an entry costs beside its texts."""


class CallSeals(msgspec.Struct, frozen=True):
    """What belongs to one call. ``name`` of its tool; ``before``: the sealed thoughts between the call before it (or
    the start of the turn) and this one, each with the number of other parts that stand between as well and come first;
    ``after``: those behind the last call; ``signature``: the seal on the call itself."""

    name: str
    before: tuple[tuple[int, Thought | SealedThought], ...] = ()
    after: tuple[Thought | SealedThought, ...] = ()
    signature: bytes = b""
    origin: Origin | None = None

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        thoughts = [thought for _, thought in self.before] + list(self.after)
        return ENTRY + len(self.name) + len(self.signature) + sum(map(_size, thoughts))


def is_sealed(part: Part) -> bool:
    """Is *part* something that only its vendor may see again?"""
    return isinstance(part, SealedThought) or (isinstance(part, (Thought, ToolCall)) and bool(part.signature))


def seals_of(parts: tuple[Part, ...]) -> list[tuple[str, CallSeals]]:
    """The seals of one turn by the id of the call they belong to; [] where nothing is sealed, or nothing is called."""
    found: list[tuple[str, CallSeals]] = []
    before: list[tuple[int, Thought | SealedThought]] = []
    others = 0
    for part in parts:
        if isinstance(part, ToolCall):
            found.append((part.id, CallSeals(part.name, tuple(before), (), part.signature, part.origin)))
            before, others = [], 0
        elif isinstance(part, SealedThought) or (isinstance(part, Thought) and part.signature):
            before.append((others, msgspec.structs.replace(part, raw=b"", cache=None)))
        elif not isinstance(part, Thought):
            others += 1
    if found and before:
        id, last = found[-1]
        found[-1] = (id, msgspec.structs.replace(last, after=tuple([thought for _, thought in before])))
    return [(id, seals) for id, seals in found if seals.before or seals.after or seals.signature]


def with_seals(request: ChatRequest, find: Callable[[str], CallSeals | None]) -> ChatRequest:
    """*request* with what *find* knows of calls that came without their seals; itself when that is nothing. Thoughts
    that the client kept in clear give way to the sealed ones; a turn with sealed thoughts of its own keeps those."""
    changed: dict[int, Message] = {}
    for at, message in enumerate(request.messages):
        if message.role == "assistant":
            parts = _restored(message.parts, find)
            if parts is not None:
                changed[at] = msgspec.structs.replace(message, parts=parts, raw=b"")
    if not changed:
        return request
    messages = tuple([changed.get(at, message) for at, message in enumerate(request.messages)])
    return msgspec.structs.replace(request, messages=messages)


def lacks_seals(request: ChatRequest, vendor: str) -> bool:
    """Is a tool loop under way (the last turn brings results) whose calling turn has no sealed thought of *vendor*? A
    vendor that insists on its own thoughts refuses to think on there."""
    messages = request.messages
    if not messages or not any(isinstance(part, ToolResult) for part in messages[-1].parts):
        return False
    for message in reversed(messages):
        if message.role == "assistant":
            return not any(
                isinstance(part, (Thought, SealedThought))
                and is_sealed(part)
                and part.origin is not None
                and part.origin.vendor == vendor
                for part in message.parts
            )
    return False


def _restored(parts: tuple[Part, ...], find: Callable[[str], CallSeals | None]) -> tuple[Part, ...] | None:
    """The parts of one turn with their seals; None when nothing changes."""
    thinks = any(isinstance(part, (Thought, SealedThought)) and is_sealed(part) for part in parts)
    out: list[Part] = []
    between: list[Part] = []
    changed = False
    for part in parts:
        if not isinstance(part, ToolCall):
            between.append(part)
            continue
        seals = find(part.id)
        call: Part = part
        after: tuple[Part, ...] = ()
        if seals is not None and seals.name == part.name:
            if seals.signature and not part.signature:
                call = msgspec.structs.replace(part, signature=seals.signature, origin=seals.origin, raw=b"")
                changed = True
            if not thinks and (seals.before or seals.after):
                between = _woven(between, seals.before)
                after = seals.after
                changed = True
        out += [*between, call, *after]
        between = []
    return tuple(out + between) if changed else None


def _woven(between: list[Part], thoughts: tuple[tuple[int, Thought | SealedThought], ...]) -> list[Part]:
    """*thoughts* at their places among the parts before a call."""
    out: list[Part] = [part for part in between if not thoughts or not isinstance(part, Thought)]
    for put, (place, thought) in enumerate(thoughts):
        out.insert(min(place, len(out) - put) + put, thought)
    return out


def _size(thought: Thought | SealedThought) -> int:
    if isinstance(thought, Thought):
        return ENTRY + len(thought.text) * 2 + len(thought.signature)
    return ENTRY + len(thought.data)
