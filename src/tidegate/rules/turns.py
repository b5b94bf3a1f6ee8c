"""Turns in the order that vendors with strict alternation want (LLM 5.2): user, assistant, user ..."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.exchange.chat import Message, Part, ToolCall, ToolResult
from tidegate.exchange.fault import CLIENT, Fault


def leading_system(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system turns that *messages* begin with, and the rest."""
    count = 0
    while count < len(messages) and messages[count].role == "system":
        count += 1
    return messages[:count], messages[count:]


def alternating(messages: tuple[Message, ...]) -> list[Message]:
    """*messages* as turns of ``user`` and ``assistant`` in alternation. Tool results become parts of the user turn that
    follows their calls: first in it, in the order of the calls, all in one turn. Neighbours of one role are merged,
    empty turns dropped; a ``system`` turn inside counts as the user's. A call without its result, when other turns
    follow, or a result without its call is ``invalid_request``: the vendor would refuse it with worse words."""
    turns: list[Message] = []
    merged: list[Part] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if not message.parts:
            continue
        if turns and turns[-1].role == role:
            if not merged:
                merged = list(turns[-1].parts)
                turns[-1] = replace(turns[-1], raw=b"")
            merged += message.parts
            if turns[-1].extra is None and message.extra is not None:
                turns[-1] = replace(turns[-1], extra=message.extra)
            continue
        merged = _closed(turns, merged)
        turns.append(message if role == message.role else replace(message, role=role, raw=b""))
    _closed(turns, merged)
    for number, turn in enumerate(turns):
        if turn.role == "user":
            turns[number] = _with_results_first(turn, turns[number - 1] if number else None)
        elif number + 1 < len(turns):
            _check_answered(turn, turns[number + 1])
    return turns


def _closed(turns: list[Message], merged: list[Part]) -> list[Part]:
    """The last turn gets all parts that were *merged* into it; none are left for the next."""
    if merged:
        turns[-1] = replace(turns[-1], parts=tuple(merged))
    return []


def _with_results_first(turn: Message, before: Message | None) -> Message:
    results = [part for part in turn.parts if isinstance(part, ToolResult)]
    if not results:
        return turn
    calls: dict[str, int] = {}
    for part in before.parts if before is not None else ():
        if isinstance(part, ToolCall):
            calls.setdefault(part.id, len(calls))
    for result in results:
        if result.call_id not in calls:
            raise Fault("invalid_request", f"The tool result {result.call_id!r} answers no call of the turn before.",
                        side=CLIENT)  # fmt: skip
    results.sort(key=lambda result: calls[result.call_id])
    others = [part for part in turn.parts if not isinstance(part, ToolResult)]
    parts: tuple[Part, ...] = (*results, *others)
    return turn if parts == turn.parts else replace(turn, parts=parts, raw=b"")


def _check_answered(turn: Message, following: Message) -> None:
    answered = {part.call_id for part in following.parts if isinstance(part, ToolResult)}
    for part in turn.parts:
        if isinstance(part, ToolCall) and part.id not in answered:
            raise Fault("invalid_request", f"The tool call {part.id!r} has no result in the turn that follows.",
                        side=CLIENT)  # fmt: skip
