"""What a turn asks besides its messages: kept with the conversation, and inherited where a later turn leaves it out
(CRP 3.1)."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from tidegate.exchange.chat import ChatRequest, Message, Raw, Sampling, ToolChoice

_T = TypeVar("_T")

_read: Final = msgspec.json.Decoder(ChatRequest).decode
_write: Final = msgspec.json.Encoder().encode

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "tools": ("tools", "functions"),
    "tool_choice": ("tool_choice", "function_call"),
    "parallel_tools": ("parallel_tool_calls",),
    "output": ("response_format", "text", "output_config", "output_format"),
    "thinking": ("reasoning", "reasoning_effort", "thinking"),
    "max_output": ("max_tokens", "max_completion_tokens", "max_output_tokens"),
    "stop": ("stop", "stop_sequences"),
    "system": ("system", "instructions"),
}
"""What is inherited -> how dialects spell it, for whoever clears it with null."""

_SAMPLING: Final = (
    "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs",
    "top_logprobs", "verbosity",
)  # fmt: skip
_NO_SAMPLING: Final = Sampling()
_NO_CHOICE: Final = ToolChoice()


def system_of(messages: tuple[Message, ...]) -> int:
    """How many of *messages* lead as system text: they are settings, not items."""
    count = 0
    for message in messages:
        if message.role != "system":
            break
        count += 1
    return count


def settings_of(request: ChatRequest) -> Raw:
    """The settings of *request* as JSON: a request that holds its leading system text and nothing of this one call."""
    lead = tuple([_bare(message) for message in request.messages[: system_of(request.messages)]])
    return _write(
        ChatRequest(
            request.model, lead, request.tools, request.tool_choice, request.parallel_tools, request.output,
            request.thinking, request.sampling, request.max_output, request.stop,
        )
    )  # fmt: skip


def model_of(settings: Raw) -> str:
    """The model that a conversation was last held with; "" before its first turn."""
    return _read(settings).model if settings else ""


def with_settings(request: ChatRequest, settings: Raw, inherit: bool) -> ChatRequest:
    """*request* with what it leaves out taken from the *settings* of the last turn; as it is where it does not
    *inherit*. What it clears with null stays out."""
    if not inherit or not settings:
        return request
    last = _read(settings)
    cleared = frozenset(request.cleared)

    def wants(name: str) -> bool:
        return name not in cleared and cleared.isdisjoint(_NAMES[name])

    messages = request.messages
    if last.messages and not system_of(messages) and wants("system"):
        messages = last.messages + messages
    tools = request.tools or (last.tools if wants("tools") else ())
    choice = request.tool_choice
    if choice == _NO_CHOICE and wants("tool_choice") and tools:
        choice = last.tool_choice
    return replace(
        request,
        model=request.model or last.model,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tools=_or(request.parallel_tools, last.parallel_tools, wants("parallel_tools")),
        output=_or(request.output, last.output, wants("output")),
        thinking=_or(request.thinking, last.thinking, wants("thinking")),
        sampling=_sampling(request.sampling, last.sampling, cleared),
        max_output=_or(request.max_output, last.max_output, wants("max_output")),
        stop=request.stop or (last.stop if wants("stop") else ()),
    )


def _or(own: _T | None, last: _T | None, wanted: bool) -> _T | None:
    return last if own is None and wanted else own


def _sampling(own: Sampling, last: Sampling, cleared: frozenset[str]) -> Sampling:
    if last == _NO_SAMPLING:
        return own
    taken = {
        name: getattr(last, name)
        for name in _SAMPLING
        if name not in cleared and getattr(own, name) == getattr(_NO_SAMPLING, name)
    }
    return replace(own, **taken)


def _bare(message: Message) -> Message:
    """*message* without the bytes it was read from, which would be kept twice."""
    parts = tuple([replace(part, raw=b"") if part.raw else part for part in message.parts])
    return replace(message, parts=parts, raw=b"")
