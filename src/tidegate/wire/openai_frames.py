"""Typed decoders for what the OpenAI family sends often: the chunks and events of streams, and usage alone (LLM 5.10).

What is not named here is skipped by the decoder and never built. This file stays interpreted, for its structs.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

NOTHING: Final = msgspec.Raw(b"")


# -- chat --------------------------------------------------------------------------------------------------------------


class CalledFunction(msgspec.Struct, gc=False):
    """``function`` or ``custom`` of a call's fragment; some vendors send arguments as an object."""

    name: str | None = None
    arguments: Any = None
    input: str | None = None


class CallPiece(msgspec.Struct):
    """A fragment of a call."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None
    custom: CalledFunction | None = None
    extra_content: msgspec.Raw = NOTHING


class ChatPiece(msgspec.Struct):
    """A ``delta``."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    function_call: CalledFunction | None = None
    annotations: list[msgspec.Raw] | None = None
    images: list[msgspec.Raw] | None = None
    audio: msgspec.Raw = NOTHING


class ChoicePiece(msgspec.Struct):
    """A choice of a chunk: *delta* of chat, *text* of a completion."""

    index: int = 0
    delta: ChatPiece | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = NOTHING


class Chunk(msgspec.Struct):
    """One event of a chat's or a completion's stream."""

    id: str | None = None
    model: str | None = None
    created: float | None = None
    choices: list[ChoicePiece] | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING
    service_tier: str | None = None


class PlainTurn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message of a call that is nothing but a text, as most are."""

    role: Literal["system", "user", "assistant"]
    content: str


# -- responses ---------------------------------------------------------------------------------------------------------


class ResponseEvent(msgspec.Struct):
    """One event of a response's stream."""

    type: str = ""
    delta: Any = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    item: msgspec.Raw = NOTHING
    part: msgspec.Raw = NOTHING
    annotation: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    item_id: str | None = None


# -- usage alone -------------------------------------------------------------------------------------------------------


class Counted(msgspec.Struct):
    """What tells the usage of a whole answer, or of a chunk."""

    usage: msgspec.Raw = NOTHING
    service_tier: str | None = None


Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class ReadDetails(msgspec.Struct, gc=False):
    """``prompt_tokens_details``."""

    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    audio_tokens: Count = 0
    image_tokens: Count = 0
    cache_write_tokens_details: msgspec.Raw = NOTHING


class WrittenDetails(msgspec.Struct, gc=False):
    """``completion_tokens_details``."""

    reasoning_tokens: Count = 0
    audio_tokens: Count = 0
    image_tokens: Count = 0
    accepted_prediction_tokens: Count = 0
    rejected_prediction_tokens: Count = 0


class ChatUsage(msgspec.Struct):
    """A usage object as nearly everybody writes it."""

    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: ReadDetails | None = None
    completion_tokens_details: WrittenDetails | None = None
    input_tokens_details: msgspec.Raw = NOTHING
    output_tokens_details: msgspec.Raw = NOTHING


class CountedEvent(msgspec.Struct):
    """What tells the usage in an event that holds a whole response."""

    response: Counted | None = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_plain_turn = msgspec.json.Decoder(PlainTurn).decode
decode_response_event = msgspec.json.Decoder(ResponseEvent).decode
decode_counted = msgspec.json.Decoder(Counted).decode
decode_chat_usage = msgspec.json.Decoder(ChatUsage).decode
decode_counted_event = msgspec.json.Decoder(CountedEvent).decode
