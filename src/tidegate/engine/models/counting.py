"""How long an input is: asked of the target where it can tell, counted here where it cannot (LLM 11)."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.engine.models.answering import send_whole
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import Candidate, candidates_of
from tidegate.exchange.chat import ChatRequest, Message, Text
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.token_count import count_request
from tidegate.wire.json_object import WrongShape, members
from tidegate.wire.json_splice import with_member

encode = msgspec.json.encode


def counters_of(call: ModelCall) -> list[Candidate]:
    """The targets that count for themselves in the client's dialect; nobody bills that."""
    if call.surface.kind == "tokenize":
        return []
    try:
        return candidates_of(call, call.runtime.models)
    except Fault:
        return []


def count_here(call: ModelCall) -> None:
    """Answer with our own count. Raises ``invalid_request`` for what nobody could count."""
    plan = call.plan
    tokenizer = plan.targets[0].catalogue.tokenizer if plan is not None and plan.targets else ""
    count = call.runtime.tools.count_tokens
    tokens = count_request(counted_request(call), lambda text: count(text, tokenizer))
    fields = [("content-type", "application/json")]
    if call.llm.expose != "none":
        fields.append(("x-tidegate-tokens", "estimated"))
    body = encode(shape(call, tokens))
    send_whole(call, 200, fields, body)


def shape(call: ModelCall, tokens: int) -> dict[str, Any]:
    """A count in the words of the client's dialect."""
    if call.surface.kind == "tokenize":
        return {"model": call.asked, "count": tokens, "source": "counted"}
    dialect = call.surface.dialect
    if dialect == "gemini_generate":
        return {"totalTokens": tokens}
    if dialect == "bedrock_converse":
        return {"inputTokens": tokens}
    if dialect == "openai_responses":
        return {"object": "response.input_tokens", "input_tokens": tokens}
    return {"input_tokens": tokens}


def counted_request(call: ModelCall) -> ChatRequest:
    """What is to be counted, out of the wrapping that counts come in."""
    given = call.members.get("input")
    if call.surface.kind == "tokenize" and isinstance(given, str):
        return ChatRequest(call.asked, (Message("user", (Text(text=given),)),))
    body = call.body
    dialect = call.surface.dialect
    try:
        if dialect == "gemini_generate" and "generateContentRequest" in call.members:
            body = members(body)["generateContentRequest"]
        elif dialect == "bedrock_converse" and "input" in call.members:
            body = members(members(body)["input"])["converse"]
        elif dialect == "anthropic_messages" and "max_tokens" not in call.members:
            body = with_member(body, "max_tokens", b"1")
    except (WrongShape, KeyError):
        raise Fault("invalid_request", "The body holds nothing to count.", side=CLIENT) from None
    return call.dialect.read_request(body, call.hints)
