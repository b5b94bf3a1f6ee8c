"""A whole chat completion, both ways (LLM 5.6, 5.8, 5.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.exchange.chat import ChatAnswer, Choice, Extra, Raw, Refusal, Stop, ToolCall, Usage
from tidegate.exchange.fault import IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.rules.chat_event_reader import STOPS
from tidegate.rules.chat_event_writer import WORDS
from tidegate.rules.error_object import error_status, error_words
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.chat_message_writer import answer_message
from tidegate.wire.chat_messages import assistant_parts
from tidegate.wire.chat_parts import CHAT, own_members
from tidegate.wire.chat_request import optional_text
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    integer,
    is_object,
    is_string,
    items,
    members,
    raw_of,
)
from tidegate.wire.openai_frames import decode_counted
from tidegate.wire.token_usage import dug, read_usage


def read_chat_answer(body: bytes, vendor: str, renames: Mapping[str, str], aliases: Mapping[str, str]) -> ChatAnswer:
    """The answer of *vendor*; raises ``WrongShape``, or ``Fault`` for an error in an answer that claims success."""
    if not body.strip():
        raise WrongShape("", "an object; it is empty")
    told = members(body)
    if is_object(told.get("error", b"")) or (is_string(told.get("error", b"")) and "choices" not in told):
        words, message = error_words(body)
        raise upstream_fault(error_status(told["error"], 500), words, message, {}, 0.0)
    id = optional_text(told.pop("id", None))
    model = optional_text(told.pop("model", None))
    created = told.pop("created", b"0")
    told.pop("object", None)
    tier = optional_text(told.pop("service_tier", None))
    tier = "standard" if tier == "default" else tier
    usage = _usage_in(told, renames, tier)
    told.pop("usage", None)
    raws = items(told.pop("choices", b""), "choices")
    if not raws:
        raise WrongShape("choices", "an array that is not empty")
    choices = [_read_choice(raw, f"choices[{at}]", vendor, aliases, at) for at, raw in enumerate(raws)]
    return ChatAnswer(
        id=id,
        model=model,
        created=integer(created) if created != NULL else 0,
        choices=tuple(choices),
        usage=usage,
        tier=tier,
        extra=Extra(CHAT, tuple(told.items())),
    )


def _usage_in(told: Mapping[str, Raw], renames: Mapping[str, str], tier: str) -> Usage | None:
    raw = told.get("usage", NULL)
    if raw == NULL:
        for path, field in renames.items():
            if field == "usage":
                raw = dug(dict(told), path) or NULL
    return None if raw == NULL else read_usage(raw, renames, tier)


def _read_choice(raw: Raw, path: str, vendor: str, aliases: Mapping[str, str], at: int) -> Choice:
    told = members(raw, path)
    index = told.pop("index", NULL)
    word = optional_text(told.pop("finish_reason", None))
    stop: Stop = STOPS.get(word, "stop")
    if stop == "broken":
        raise Fault("bad_upstream", "The model broke off with an error.", reason="model_error", side=UPSTREAM,
                    retry=IF_IDEMPOTENT)  # fmt: skip
    if word and word not in STOPS:
        told["finish_reason"] = encode(word)
    logprobs = told.pop("logprobs", NULL)
    message = members(told.pop("message", b""), path + ".message")
    message.pop("role", None)
    parts = assistant_parts(message, path + ".message", vendor, aliases)
    if stop == "stop":
        if any(isinstance(part, ToolCall) for part in parts):
            stop = "tool_calls"
        elif any(isinstance(part, Refusal) for part in parts):
            stop = "refusal"
    told.update({"message." + name: value for name, value in message.items()})
    return Choice(
        index=at if index == NULL else integer(index),
        parts=parts,
        stop=stop,
        logprobs=b"" if logprobs == NULL else logprobs,
        extra=Extra(CHAT, tuple(told.items())) if told else None,
    )


def choice_object(choice: Choice, legacy: bool, losses: list[str]) -> dict[str, Any]:
    """A choice for a client; *legacy*: one that knows ``function_call`` only."""
    where = f"choices[{choice.index}]"
    message = answer_message(choice.parts, losses, where)
    word = WORDS[choice.stop]
    if choice.stop == "pause":
        losses.append("pause")
    if legacy and "tool_calls" in message:
        calls = message.pop("tool_calls")
        message["function_call"] = calls[0].get("function") if isinstance(calls[0], dict) else None
        word = "function_call" if word == "tool_calls" else word
    body: dict[str, Any] = {"index": choice.index, "message": message, "logprobs": None, "finish_reason": word}
    own = own_members(choice.extra)
    if choice.logprobs and (own or choice.extra is None):
        body["logprobs"] = raw_of(choice.logprobs)
    for name, value in own.items():
        if name.startswith("message."):
            message.setdefault(name[8:], raw_of(value))
        else:
            body[name] = raw_of(value)
    return body


def answer_usage(body: bytes, renames: Mapping[str, str]) -> Usage | None:
    """The usage of a whole answer; the rest is skipped, not built."""
    try:
        found = decode_counted(body)
        usage = bytes(found.usage)
        if (not usage or usage == NULL) and renames:
            return _usage_in(members(body), renames, found.service_tier or "")
    except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
        return None
    tier = found.service_tier or ""
    return read_usage(usage, renames, "standard" if tier == "default" else tier) if usage else None
