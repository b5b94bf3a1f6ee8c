"""How long an input is: asked of the target where it can tell, counted here where it cannot (LLM 11)."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.engine.models.answering import send_whole
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import Candidate, candidates_of
from tidegate.engine.models.token_counts import corrected, counted_request
from tidegate.exchange.chat import ChatRequest, Message, Text
from tidegate.exchange.fault import CLIENT, Fault
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


async def count_here(call: ModelCall) -> None:
    """Answer with our own count, as the model's first target would bill it. Raises ``invalid_request`` for what nobody
    could count, ``overloaded`` when too much is being counted."""
    runtime = call.runtime
    tokenizer, key = counted_for(call)
    tokens = await counted_request(runtime, request_of(call), tokenizer)
    if tokens is None:
        raise Fault("overloaded", "The input could not be counted.", reason="count", retry_after=1.0)
    runtime.models.counting = True
    tokens = corrected(runtime.models, key, tokenizer, tokens)
    fields = [("content-type", "application/json")]
    if call.llm.expose != "none":
        fields.append(("x-tidegate-tokens", "estimated"))
    body = encode(shape(call, tokens))
    send_whole(call, 200, fields, body)


def counted_for(call: ModelCall) -> tuple[str, str]:
    """(tokenizer, key of the figures) of the model's first target."""
    plan = call.plan
    if plan is None or not plan.targets:
        return "", ""
    target = plan.targets[0]
    name = target.model or call.name
    row = target.catalogue if target.model else call.models.facts.of(target.provider.name, name)[1]
    return row.tokenizer, f"{target.provider.name}/{name}"


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


def request_of(call: ModelCall) -> ChatRequest:
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
