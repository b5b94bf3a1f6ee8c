"""The official anthropic package: messages, count_tokens; strict validation on."""

from __future__ import annotations

from typing import Any

import anthropic
from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said

client = anthropic.Anthropic(
    base_url=JOB["base"], api_key=JOB["key"], max_retries=JOB.get("retries", 0), timeout=30,
    _strict_response_validation=True,
)  # fmt: skip
ASK: Any = [{"role": "user", "content": QUESTION}]
TOOLS: Any = [{"name": "get_weather", "description": DESCRIBED, "input_schema": SCHEMA}]
COMMON: Any = {"max_tokens": 200, "system": "Be brief."}


def understood(message: Any) -> Any:
    text = "".join(block.text for block in message.content if block.type == "text")
    thought = "".join(block.thinking for block in message.content if block.type == "thinking")
    calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
    return said(text, calls, message.stop_reason, (message.usage.input_tokens, message.usage.output_tokens), thought)


def messages(thing: dict[str, Any]) -> Any:
    return understood(client.messages.create(model=thing["model"], messages=ASK, **COMMON))


def messages_stream(thing: dict[str, Any]) -> Any:
    """Raw events, put together here."""
    text, stop, usage = "", None, [0, 0]
    for event in client.messages.create(model=thing["model"], messages=ASK, stream=True, **COMMON):
        if event.type == "message_start":
            usage[0] = event.message.usage.input_tokens
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            text += event.delta.text
        elif event.type == "message_delta":
            stop = event.delta.stop_reason
            usage = [event.usage.input_tokens or usage[0], event.usage.output_tokens]
    return said(text, [], stop, (usage[0], usage[1]))


def messages_helper(thing: dict[str, Any]) -> Any:
    """The package's own assembly."""
    with client.messages.stream(model=thing["model"], messages=ASK, **COMMON) as stream:
        text = "".join(stream.text_stream)
        found = understood(stream.get_final_message())
    assert found["text"] == text
    return found


def tools(thing: dict[str, Any]) -> Any:
    return understood(client.messages.create(model=thing["model"], messages=ASK, tools=TOOLS, **COMMON))


def tools_stream(thing: dict[str, Any]) -> Any:
    with client.messages.stream(model=thing["model"], messages=ASK, tools=TOOLS, **COMMON) as stream:
        return understood(stream.get_final_message())


def loop(thing: dict[str, Any]) -> Any:
    first = client.messages.create(model=thing["model"], messages=ASK, tools=TOOLS, **COMMON)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": RESULT}
        for block in first.content
        if block.type == "tool_use"
    ]
    mine: Any = [*ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    return understood(client.messages.create(model=thing["model"], messages=mine, tools=TOOLS, **COMMON))


def count(thing: dict[str, Any]) -> Any:
    return {"count": client.messages.count_tokens(model=thing["model"], messages=ASK).input_tokens}


def models(thing: dict[str, Any]) -> Any:
    return {"ids": [model.id for model in client.models.list()]}


run({name: value for name, value in list(globals().items()) if callable(value)})
