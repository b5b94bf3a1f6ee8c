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

BYTES_PER_TOKEN: Final = 4
LEAST_BYTES_PER_TOKEN: Final = 8
"""No tokenizer makes fewer tokens of running text: a call is called too long only when it surely is."""

MEDIA_TOKENS: Final = 1024
"""A picture, a page or a clip, as far as an estimate goes."""


class Needs(msgspec.Struct, frozen=True):
    """``features``: of the words of ``CatalogueRow.features``; without them the call cannot be served. ``wishes``: a
    model that has them is preferred. ``text`` bytes of text and tools; ``media`` pieces; ``output`` the bound that the
    client named, 0 for none; ``vendors``: whose sealed thoughts the running tool loop needs."""

    features: frozenset[str] = frozenset()
    wishes: frozenset[str] = frozenset()
    text: int = 0
    media: int = 0
    output: int = 0
    choices: int = 1
    vendors: frozenset[str] = frozenset()

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
        request.max_output or 0,
        request.sampling.n,
        _loop_vendors(request),
    )


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
