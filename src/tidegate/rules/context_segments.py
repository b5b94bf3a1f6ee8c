"""A prompt as bytes without writing its history anew: what was sent once lies ready, joined (CRP 7.3, P7).

The history is cut where the assistant begins to speak. A whole chunk (the assistant's turn, results, the user's next
words) is written once per target by its dialect, and its array elements are kept; each call writes only the rest and
has the kept ones spliced in front. What comes out is byte for byte what the dialect writes of the whole request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import ChatRequest, Message, Text
from tidegate.rules.context_epoch import Frozen
from tidegate.rules.context_render import Rendered, Target, fit_for
from tidegate.rules.item_messages import messages_of
from tidegate.wire.json_splice import replaced, spans

SPLICED: Final[dict[str, tuple[str, bool]]] = {
    "openai_chat": ("messages", True),
    "openai_responses": ("input", False),
    "anthropic_messages": ("messages", False),
    "gemini_generate": ("contents", False),
}
"""Dialect -> the member that holds the turns, and whether system text stands among them."""

Write = Callable[[ChatRequest], bytes]
"""A request as the target's dialect writes it."""


class Segments:
    """What one target was sent of one line of history. Mutable: ``bytes`` of the elements joined by commas, and
    ``upto``, how many items are in them."""

    __slots__ = ("joined", "upto")

    def __init__(self) -> None:
        self.joined: bytes = b""
        self.upto: int = 0


def may_splice(rendered: Rendered, dialect: str) -> bool:
    """Is there something kept, in a dialect whose turns do not look at each other beyond a chunk?"""
    if not rendered.chunk or dialect not in SPLICED:
        return False
    system = [message for message in rendered.lead if message.role == "system"]
    return dialect != "openai_responses" or len(system) <= 1


def body_of(rendered: Rendered, key: str, target: Target, write: Write) -> bytes:
    """The body of *rendered* (``may_splice`` said yes; it need not be whole). *key* names everything that *write*
    depends on beside the messages. b"" where the dialect wrote something else than an array: then the whole request is
    to be written."""
    member, inside = SPLICED[target.dialect]
    frozen = rendered.frozen
    system = tuple([message for message in rendered.lead if message.role == "system"])
    segments = _segments(frozen, key, rendered.chunk)
    if segments.upto < rendered.chunk and not _extend(segments, rendered, system, target, write):
        return b""
    messages = rendered.live if inside else system + rendered.live
    body = write(replace(rendered.request, messages=messages))
    span = spans(body, (member,)).get(member)
    if span is None or body[span[0] : span[0] + 1] != b"[":
        return b""
    if not segments.joined:
        return body
    start = span[0] + 1
    comma = b"" if body[start : start + 1] == b"]" else b","
    return b"".join((body[:start], segments.joined, comma, body[start:]))


def _segments(frozen: Frozen, key: str, chunk: int) -> Segments:
    """What is kept for *key*; new ones where a later version has gone beyond what this one may say."""
    kept = frozen.told.segments.get(key)
    if isinstance(kept, Segments) and kept.upto <= chunk:
        return kept
    made = Segments()
    if kept is None:
        frozen.told.segments[key] = made
    return made


def _extend(
    segments: Segments, rendered: Rendered, system: tuple[Message, ...], target: Target, write: Write
) -> bool:  # fmt: skip
    """Write the chunks that are not there yet."""
    member, inside = SPLICED[target.dialect]
    told = rendered.frozen.told
    fit = fit_for(target)
    bounds = [cut for cut in told.cuts if segments.upto < cut <= rendered.chunk]
    pieces = [segments.joined] if segments.joined else []
    upto = segments.upto
    pending: tuple[Message, ...] = ()
    groups: list[tuple[Message, ...]] = []
    for bound in bounds:
        messages = messages_of(told.items[upto:bound], fit, over=True)
        if not upto:
            pending = rendered.lead if inside else rendered.lead[len(system) :]
        elif not _speaks(messages):
            return False  # a turn that this target sees nothing of: its neighbours would grow together
        groups.append(pending + messages)
        pending = ()
        upto = bound
    for messages in groups:
        body = write(replace(rendered.request, messages=messages if inside else system + messages))
        span = spans(body, (member,)).get(member)
        if span is None or body[span[0] : span[0] + 1] != b"[":
            return False
        inner = body[span[0] + 1 : span[1] - 1]
        if inner:
            pieces.append(inner)
    segments.joined = b",".join(pieces)
    segments.upto = upto
    return True


def _speaks(messages: tuple[Message, ...]) -> bool:
    """The first of *messages* is the assistant's and says something to any target."""
    if not messages or messages[0].role != "assistant":
        return False
    return any(not isinstance(part, Text) or part.text.strip() for part in messages[0].parts)


def without_turns(body: bytes, dialect: str) -> bytes:
    """*body* with its turns taken out: what two calls must share for a cache to share their prefix."""
    member = SPLICED[dialect][0]
    span = spans(body, (member,)).get(member)
    return body if span is None else replaced(body, [(span[0], span[1], b"[]")])
