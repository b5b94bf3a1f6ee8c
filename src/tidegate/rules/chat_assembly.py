"""A whole answer out of its deltas, and deltas out of a whole answer."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.exchange.chat import (
    END,
    Audio,
    ChatAnswer,
    ChatDelta,
    Choice,
    Citation,
    Cite,
    Cited,
    Close,
    Extra,
    Image,
    Open,
    Part,
    PartKind,
    Piece,
    Refusal,
    SealedThought,
    Sign,
    Start,
    Stop,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_object import WrongShape, encode, is_array, items, members, raw_of


class _Growing:
    """One part while it grows."""

    def __init__(self, head: Part) -> None:
        self.head = head
        self.pieces: list[str] = []
        self.signature = b""
        self.citations: list[Citation] = []


class Assembler:
    """Takes deltas that keep the order law; knows the answer so far at any time. Pings and failures change nothing."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.created = 0
        self.usage: Usage | None = None
        self.parts: dict[int, list[_Growing]] = {}
        self.stops: dict[int, tuple[Stop, str, Extra | None]] = {}
        self.logprobs: dict[int, list[bytes]] = {}

    def take(self, delta: ChatDelta) -> None:
        if isinstance(delta, Piece):
            self.parts[delta.choice][delta.part].pieces.append(delta.text)
            if delta.logprobs:
                self.logprobs.setdefault(delta.choice, []).append(delta.logprobs)
        elif isinstance(delta, Open):
            self.parts.setdefault(delta.choice, []).append(_Growing(delta.head))
        elif isinstance(delta, Sign):
            self.parts[delta.choice][delta.part].signature = delta.signature
        elif isinstance(delta, Cite):
            self.parts[delta.choice][delta.part].citations.append(delta.citation)
        elif isinstance(delta, Stopped):
            self.parts.setdefault(delta.choice, [])
            self.stops[delta.choice] = (delta.stop, delta.stop_sequence, delta.extra)
        elif isinstance(delta, Used):
            self.usage = largest(self.usage, delta.usage)
        elif isinstance(delta, Start):
            self.id, self.model, self.created = delta.id, delta.model, delta.created
            if delta.usage is not None:
                self.usage = largest(self.usage, delta.usage)

    def answer(self) -> ChatAnswer:
        choices = []
        for index in sorted(self.parts):
            stop, sequence, extra = self.stops.get(index, ("stop", "", None))
            parts = tuple([_whole(part) for part in self.parts[index]])
            logprobs = joined_logprobs(self.logprobs.get(index, []))
            choices.append(Choice(index, parts, stop, sequence, logprobs, extra))
        return ChatAnswer(
            id=self.id, model=self.model, created=self.created, choices=tuple(choices), usage=self.usage,
            tier=self.usage.tier if self.usage is not None else "",
        )  # fmt: skip


def _whole(grown: _Growing) -> Part:
    head = grown.head
    text = "".join(grown.pieces)
    if isinstance(head, Text):
        if grown.citations:
            return Cited(text=head.text + text, citations=tuple(grown.citations), extra=head.extra)
        return replace(head, text=head.text + text)
    if isinstance(head, Refusal):
        return replace(head, text=head.text + text)
    if isinstance(head, Thought):
        return replace(head, text=head.text + text, signature=grown.signature or head.signature)
    if isinstance(head, ToolCall):
        arguments = text or (head.arguments if head.arguments else "{}")
        return replace(head, arguments=arguments, signature=grown.signature or head.signature)
    if isinstance(head, (Image, Audio)):
        return replace(head, data=head.data + text.encode("latin-1", "replace"))
    if isinstance(head, SealedThought):
        return replace(head, data=head.data + text.encode())
    return head


def joined_logprobs(pieces: list[bytes]) -> bytes:
    """One object out of those of several pieces: lists in them (``content``, ``refusal``) go behind each other. A piece
    that is no object is left out."""
    if len(pieces) < 2:
        return pieces[0] if pieces else b""
    lists: dict[str, list[bytes]] = {}
    for piece in pieces:
        try:
            for name, value in members(piece).items():
                lists.setdefault(name, []).extend(items(value) if is_array(value) else [])
        except WrongShape:
            continue
    return encode({name: [raw_of(one) for one in values] or None for name, values in lists.items()})


def deltas_of(answer: ChatAnswer) -> list[ChatDelta]:
    """*answer* as if it had come in a stream, each part in one piece."""
    deltas: list[ChatDelta] = [Start(id=answer.id, model=answer.model, created=answer.created)]
    for choice in answer.choices:
        logprobs = choice.logprobs
        for number, part in enumerate(choice.parts):
            told = logprobs if isinstance(part, Text | Cited | Refusal) else b""
            deltas += _part_deltas(choice.index, number, part, told)
            logprobs = b"" if told else logprobs
        deltas.append(Stopped(choice.index, choice.stop, choice.stop_sequence, choice.extra))
    if answer.usage is not None:
        deltas.append(Used(answer.usage))
    deltas.append(END)
    return deltas


def _part_deltas(choice: int, number: int, part: Part, logprobs: bytes) -> list[ChatDelta]:
    kind: PartKind
    text = ""
    signature = b""
    citations: tuple[Citation, ...] = ()
    head: Part = part
    if isinstance(part, Text):
        kind, text, head = "text", part.text, replace(part, text="", raw=b"")
    elif isinstance(part, Cited):
        kind, text, head, citations = "text", part.text, Text(text="", extra=part.extra), part.citations
    elif isinstance(part, Refusal):
        kind, text, head = "refusal", part.text, replace(part, text="", raw=b"")
    elif isinstance(part, Thought):
        kind, text, signature = "thought", part.text, part.signature
        head = replace(part, text="", signature=b"", raw=b"")
    elif isinstance(part, ToolCall):
        kind, text, signature = "tool_call", part.arguments, part.signature
        head = replace(part, arguments="", raw=b"")  # its seal is known: who must say it first can
    elif isinstance(part, SealedThought):
        kind = "sealed_thought"
    elif isinstance(part, Image):
        kind = "image"
    elif isinstance(part, Audio):
        kind = "audio"
    else:
        kind = "opaque"
    deltas: list[ChatDelta] = [Open(choice, number, kind, head)]
    if text:
        deltas.append(Piece(choice, number, text, logprobs))
    if signature:
        deltas.append(Sign(choice, number, signature))
    deltas += [Cite(choice, number, citation) for citation in citations]
    deltas.append(Close(choice, number))
    return deltas
