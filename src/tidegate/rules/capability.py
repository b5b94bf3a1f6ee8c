"""What a call needs of a model, and whether a model has it (LLM 9). What is not known of a model counts as yes."""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.chat import (
    Audio,
    ChatRequest,
    Cited,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
)
from tidegate.wire.json_object import count, is_array, is_string, items

BYTES_PER_TOKEN: Final = 4
LEAST_BYTES_PER_TOKEN: Final = 8
"""No tokenizer makes fewer tokens of running text: a call is called too long only when it surely is."""

MOST_OUTPUT: Final = 1 << 31
MOST_CHOICES: Final = 1 << 16
"""What a client names above these is as good as them: sums stay numbers that every store can hold."""

MEDIA_TOKENS: Final = 1024
"""A picture, a page or a clip, as far as an estimate goes."""


class Needs(msgspec.Struct, frozen=True):
    """``features``: of the words of ``CatalogueRow.features``; without them the call cannot be served. ``wishes``: a
    model that has them is preferred. ``text`` bytes of text and tools; ``media`` pieces; ``output`` the bound that the
    client named, 0 for none (or none that could be meant); ``vendors``: whose sealed thoughts the running tool loop
    needs. ``best_of`` and ``prompts``: of old completions, each prompt is answered so many times."""

    features: frozenset[str] = frozenset()
    wishes: frozenset[str] = frozenset()
    text: int = 0
    media: int = 0
    output: int = 0
    choices: int = 1
    vendors: frozenset[str] = frozenset()
    best_of: int = 1
    prompts: int = 1

    @property
    def answers(self) -> int:
        """How many a model writes at most, whether the client gets them all or not."""
        return self.prompts * max(self.choices, self.best_of)

    @property
    def input_tokens(self) -> int:
        """A guess for strategies and limits; not for money."""
        return self.text // BYTES_PER_TOKEN + self.media * MEDIA_TOKENS


def needs_of(request: ChatRequest) -> Needs:
    """What *request* needs."""
    features: set[str] = set()
    wishes: set[str] = set()
    text = 0
    media = 0
    for message in request.messages:
        for part in message.parts:
            size, kind = _measure(part)
            text += size
            if kind:
                media += 1
                features.add(kind)
            if isinstance(part, ToolResult):
                for inner in part.parts:
                    size, kind = _measure(inner)
                    text += size
                    if kind:
                        media += 1
                        features.add(kind)
    if any(tool.kind == "function" for tool in request.tools):
        features.add("tools")
    for tool in request.tools:
        text += len(tool.name) + len(tool.description) + len(tool.schema) + len(tool.value)
    output = request.output
    if output is not None and output.kind == "schema":
        features.add("schema")
        text += len(output.schema)
    if request.thinking is not None and request.thinking.mode != "off":
        wishes.add("thinking")
    return Needs(
        frozenset(features),
        frozenset(wishes),
        text,
        media,
        min(max(0, request.max_output or 0), MOST_OUTPUT),
        _bounded(request.sampling.n),
        _loop_vendors(request),
        _best_of(request),
        _prompts(request),
    )


def _bounded(choices: int) -> int:
    """A number of answers that money can be set aside for: below one would give some back."""
    return min(max(1, choices), MOST_CHOICES)


def _best_of(request: ChatRequest) -> int:
    for name, value in request.extra.members if request.extra is not None else ():
        if name == "best_of":
            return _bounded(count(value))
    return 1


def _prompts(request: ChatRequest) -> int:
    """Several prompts of an old completion stand in one part; so does one that is token ids."""
    part = request.messages[0].parts[0] if request.messages and request.messages[0].parts else None
    if not isinstance(part, Opaque) or part.kind != "prompt" or not is_array(part.value):
        return 1
    found = items(part.value)
    return _bounded(len(found)) if found and (is_string(found[0]) or is_array(found[0])) else 1


def lacking(needs: Needs, features: frozenset[str] | None, window: int, emulate: bool = False) -> str:
    """Why a model cannot serve the call: a feature's name, ``context_length``, or "" when it can, as far as known."""
    if features is not None:
        for feature in sorted(needs.features):
            if feature not in features and not (feature == "schema" and emulate and "tools" in features):
                return feature
    if window and needs.text // LEAST_BYTES_PER_TOKEN + needs.output > window:
        return "context_length"
    return ""


def _measure(part: Part) -> tuple[int, str]:
    """(bytes of text, the feature that media needs)."""
    if isinstance(part, (Text, Refusal, Thought, Cited)):
        return len(part.text), ""
    if isinstance(part, ToolCall):
        return len(part.name) + len(part.arguments), ""
    if isinstance(part, Image):
        return 0, "image"
    if isinstance(part, Audio):
        return 0, "audio"
    if isinstance(part, Video):
        return 0, "video"
    if isinstance(part, File):
        return len(part.text), "" if part.text else "file"
    if isinstance(part, Opaque):
        return len(part.value), ""
    if isinstance(part, SealedThought):
        return len(part.data), ""
    return 0, ""


def _loop_vendors(request: ChatRequest) -> frozenset[str]:
    """In a tool loop (the last turn brings results) the thoughts of the turn that called must go back to their maker
    (LLM 5.6). Empty outside of one, and where nothing was sealed."""
    messages = request.messages
    if not messages or not any(isinstance(part, ToolResult) for part in messages[-1].parts):
        return frozenset()
    for message in reversed(messages):
        if message.role == "assistant":
            vendors: set[str] = set()
            for part in message.parts:
                if isinstance(part, SealedThought):
                    sealed = True
                elif isinstance(part, (Thought, ToolCall)):
                    sealed = bool(part.signature)
                else:
                    continue
                if sealed and part.origin is not None and part.origin.vendor:
                    vendors.add(part.origin.vendor)
            return frozenset(vendors)
    return frozenset()
