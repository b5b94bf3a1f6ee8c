"""A whole response of the Responses dialect, both ways (LLM 5.6, 5.8, 5.9)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Cited,
    Extra,
    Opaque,
    Part,
    Refusal,
    SealedThought,
    Stop,
    Text,
    Thought,
    ToolCall,
    Usage,
)  # fmt: skip
from tidegate.exchange.fault import IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.rules.error_object import error_status, error_words
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.chat_parts import own_members
from tidegate.wire.json_object import NULL, WrongShape, is_object, items, members, number, raw_of
from tidegate.wire.openai_frames import Counted, decode_counted, decode_counted_event
from tidegate.wire.response_item_writer import call_item, call_seal_item, output_part, reasoning_item
from tidegate.wire.response_items import RESPONSES, item_parts, optional
from tidegate.wire.token_usage import input_usage, read_usage

INCOMPLETE: Final[dict[str, Stop]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_REASONS: Final[dict[str, str]] = {
    "length": "max_output_tokens",
    "context_length": "max_output_tokens",
    "content_filter": "content_filter",
}
_SERVER_TOOLS: Final = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
    "computer_call": "computer",
    "mcp_call": "mcp",
}


def own_id(prefix: str, id: str) -> str:
    """*id* when it has this dialect's *prefix*, else an id made of it."""
    if id.startswith(prefix + "_"):
        return id
    return f"{prefix}_{blake2b(id.encode(), digest_size=20).hexdigest()}"


def as_it_is(id: str) -> str:
    return id


# -- read --------------------------------------------------------------------------------------------------------------


def read_response(body: bytes, vendor: str, renames: Mapping[str, str], aliases: Mapping[str, str]) -> ChatAnswer:
    """The answer of *vendor*; raises ``WrongShape``, or ``Fault`` for a response that failed."""
    if not body.strip():
        raise WrongShape("", "an object; it is empty")
    told = members(body)
    check_failed(told)
    tier = tier_of(told)
    usage_raw = told.pop("usage", NULL)
    usage = None if usage_raw == NULL else read_usage(usage_raw, renames, tier)
    parts: list[Part] = []
    searches: dict[str, int] = {}
    for at, raw in enumerate(items(told.pop("output", b""), "output")):
        path = f"output[{at}]"
        item = members(raw, path)
        kind = optional(item, "type", path)
        if kind in _SERVER_TOOLS:
            name = _SERVER_TOOLS[kind]
            searches[name] = searches.get(name, 0) + 1
        parts += item_parts(item, kind, raw, path, vendor, aliases)
    parts = [part for part in parts if not (type(part) is Text and not part.text)]
    if usage is not None and searches:
        usage = msgspec.structs.replace(usage, tool_calls=tuple(searches.items()))
    id = optional(told, "id", "")
    model = optional(told, "model", "")
    created = told.get("created_at", NULL)
    stop = stop_of(told, parts)
    for name in ("id", "model", "created_at", "object", "status", "error", "incomplete_details", "service_tier"):
        told.pop(name, None)
    return ChatAnswer(
        id=id,
        model=model,
        created=0 if created == NULL else int(number(created, "created_at")),
        choices=(Choice(parts=tuple(parts), stop=stop),),
        usage=usage,
        tier=tier,
        extra=Extra(RESPONSES, tuple(told.items())),
    )


def tier_of(told: Mapping[str, bytes]) -> str:
    """The tier a response names."""
    word = optional(told, "service_tier", "")
    return "standard" if word == "default" else word


def check_failed(told: Mapping[str, bytes]) -> None:
    """Raises the fault that a response carries."""
    error = told.get("error", NULL)
    if is_object(error):
        words, message = error_words(error)
        status = error_status(error, 500)
        if status == 500 and "rate_limit" in words:
            status = 429
        elif status == 500 and ("invalid" in words or "policy" in words):
            status = 400
        raise upstream_fault(status, words, message, {}, 0.0)
    if told.get("status") in (b'"failed"', b'"cancelled"'):
        raise Fault("bad_upstream", "The response failed.", reason="model_error", side=UPSTREAM, retry=IF_IDEMPOTENT)


def stop_of(told: Mapping[str, bytes], parts: list[Part]) -> Stop:
    """Why a response ended. Calls present decide where the words say that all is well."""
    if told.get("status") == b'"incomplete"':
        details = told.get("incomplete_details", b"")
        reason = optional(members(details), "reason", "incomplete_details") if is_object(details) else ""
        return INCOMPLETE.get(reason, "length")
    if any(isinstance(part, ToolCall) for part in parts):
        return "tool_calls"
    if parts and all(isinstance(part, Refusal) for part in parts if not isinstance(part, (Thought, SealedThought))):
        return "refusal" if any(isinstance(part, Refusal) for part in parts) else "stop"
    return "stop"


def response_usage(body: bytes, renames: Mapping[str, str]) -> Usage | None:
    """The usage of a whole response; the rest is skipped, not built."""
    try:
        return _usage(decode_counted(body), renames)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def event_usage(data: bytes, renames: Mapping[str, str]) -> Usage | None:
    """The usage in an event that carries a whole response."""
    try:
        found = decode_counted_event(data).response
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if found is None else _usage(found, renames)


def _usage(found: Counted, renames: Mapping[str, str]) -> Usage | None:
    raw = bytes(found.usage)
    if not raw or raw == NULL:
        return None
    tier = found.service_tier or ""
    return read_usage(raw, renames, "standard" if tier == "default" else tier)


# -- written -----------------------------------------------------------------------------------------------------------


def output_items(parts: tuple[Part, ...], seed: str, losses: list[str]) -> list[Any]:
    """The items that *parts* are for a client; ids are made of *seed* where there are none."""
    written: list[Any] = []
    content: list[dict[str, Any]] = []
    thoughts: list[Thought | SealedThought] = []

    def end_message() -> None:
        if content:
            written.append(message_item(seed, len(written), list(content), "completed"))
            content.clear()

    for part in [*parts, None]:
        if thoughts and not (isinstance(part, (Thought, SealedThought)) and part.id and part.id == thoughts[0].id):
            written.append(reasoning_item(thoughts, f"{seed}:{len(written)}", own_id))
            thoughts = []
        if isinstance(part, (Text, Cited, Refusal)):
            content.append(output_part(part))
            continue
        end_message()
        if isinstance(part, (Thought, SealedThought)):
            thoughts.append(part)
        elif isinstance(part, ToolCall):
            written.append(call_item(part, part.name, as_it_is, own_id))
            if part.signature:
                written.append(call_seal_item(part, own_id))
        elif isinstance(part, Opaque) and part.dialect == RESPONSES:
            written.append(raw_of(part.value))
        elif part is not None:
            losses.append(part.kind if isinstance(part, Opaque) else type(part).__name__.lower())
    return written


def message_item(seed: str, at: int, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """The message item number *at*."""
    return {
        "type": "message",
        "id": own_id("msg", f"{seed}:{at}"),
        "status": status,
        "role": "assistant",
        "content": content,
    }


def response_object(asked: ChatRequest, id: str, created: int, model: str, own: Mapping[str, bytes]) -> dict[str, Any]:
    """A response that is in progress: what the client asked, said back, and no output yet. *own*: members that a
    provider of this dialect has said back itself."""
    effort = asked.thinking.effort if asked.thinking is not None else ""
    body: dict[str, Any] = {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": asked.max_output,
        "model": model or asked.model,
        "output": [],
        "parallel_tool_calls": asked.parallel_tools is not False,
        "previous_response_id": (asked.state.previous_id or None) if asked.state is not None else None,
        "reasoning": {"effort": effort or None, "summary": None},
        "store": asked.state.store is not False if asked.state is not None else True,
        "temperature": asked.sampling.temperature,
        "text": {"format": _format(asked)},
        "tool_choice": _choice(asked),
        "tools": [_tool(tool) for tool in asked.tools if tool.kind == "function" or tool.dialect == RESPONSES],
        "top_p": asked.sampling.top_p,
        "truncation": (asked.state.truncation or "disabled") if asked.state is not None else "disabled",
        "usage": None,
        "metadata": raw_of(asked.metadata) if asked.metadata else {},
    }
    if asked.messages and own_members(asked.messages[0].extra, RESPONSES).keys() == {"instructions"}:
        body["instructions"] = "".join([part.text for part in asked.messages[0].parts if isinstance(part, Text)])
    for name, value in own.items():
        body[name] = raw_of(value)
    return body


def finish(body: dict[str, Any], output: list[Any], stop: Stop, usage: Usage | None, tier: str) -> str:
    """Makes *body* a finished response; its status."""
    body["output"] = output
    reason = _REASONS.get(stop)
    body["status"] = "incomplete" if reason is not None else "completed"
    if reason is not None:
        body["incomplete_details"] = {"reason": reason}
    if usage is not None:
        body["usage"] = input_usage(usage)
        tier = tier or usage.tier
    if tier:
        body["service_tier"] = "default" if tier == "standard" else tier
    return str(body["status"])


def _format(asked: ChatRequest) -> dict[str, Any]:
    output = asked.output
    if output is None or output.kind == "text":
        return {"type": "text"}
    if output.kind == "json":
        return {"type": "json_object"}
    return schema_format(asked)


def schema_format(asked: ChatRequest) -> dict[str, Any]:
    """``text.format`` for a schema."""
    output = asked.output
    body: dict[str, Any] = {"type": "json_schema"}
    if output is not None:
        body |= {"name": output.name or "answer", "schema": raw_of(output.schema or b"{}")}
        if output.strict is not None:
            body["strict"] = output.strict
        if output.description:
            body["description"] = output.description
    return body


def _choice(asked: ChatRequest) -> Any:
    choice = asked.tool_choice
    if choice.mode in ("auto", "none", "required"):
        return choice.mode
    if choice.mode == "one":
        kind = (
            "custom"
            if any(tool.name == choice.names[0] and tool.kind == "custom" for tool in asked.tools)
            else "function"
        )
        return {"type": kind, "name": choice.names[0]}
    return {
        "type": "allowed_tools",
        "mode": "required" if choice.required else "auto",
        "tools": [{"type": "function", "name": name} for name in choice.names],
    }


def _tool(tool: Any) -> Any:
    if tool.kind != "function":
        return raw_of(tool.value)
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": raw_of(tool.schema) if tool.schema else None,
        "strict": tool.strict,
    }
