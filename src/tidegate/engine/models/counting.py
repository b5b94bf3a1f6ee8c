"""How long an input is: asked of the target where it can tell, counted here where it cannot (LLM 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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

COUNTED: Final = 65_536
"""Characters of one call that are counted: 0.02 s, and 0.3 s for text that is made to be slow."""


def counters_of(call: ModelCall) -> list[Candidate]:
    """The targets that count for themselves in the client's dialect; nobody bills that."""
    if call.surface.kind == "tokenize":
        return []
    try:
        return candidates_of(call, call.runtime.models)
    except Fault:
        return []


class Sampled:
    """Counts so many characters of a call and takes the rest for as dense: counting a megabyte would keep everybody
    else waiting for a second. Mutable state: ``left`` to count, ``text`` counted so far, ``tokens`` found in it."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self.left = COUNTED
        self.text = 0
        self.tokens = 0

    def __call__(self, text: str) -> int:
        size = min(len(text), self.left)
        found = 0
        if size:
            found = self._count(text if size == len(text) else text[:size])
            self.left -= size
            self.text += size
            self.tokens += found
        rest = len(text) - size
        return found + (-(-rest * self.tokens // self.text) if rest else 0)


def count_here(call: ModelCall) -> None:
    """Answer with our own count. Raises ``invalid_request`` for what nobody could count."""
    plan = call.plan
    tokenizer = plan.targets[0].catalogue.tokenizer if plan is not None and plan.targets else ""
    count = call.runtime.tools.count_tokens
    tokens = count_request(counted_request(call), Sampled(lambda text: count(text, tokenizer)))
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
