"""The official cohere package, second version of its API."""

from __future__ import annotations

from typing import Any

import cohere
from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said

client = cohere.ClientV2(
    api_key=JOB["key"], base_url=JOB["base"], timeout=30, max_retries=0, log_warning_experimental_features=False
)
ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "description": DESCRIBED, "parameters": SCHEMA}}]


def usage_of(usage: Any) -> tuple[int, int] | None:
    return (int(usage.tokens.input_tokens), int(usage.tokens.output_tokens)) if usage and usage.tokens else None


def understood(answer: Any) -> Any:
    text = "".join(part.text for part in answer.message.content or [] if part.type == "text")
    calls = [(call.id, call.function.name, call.function.arguments) for call in answer.message.tool_calls or []]
    return said(text, calls, answer.finish_reason, usage_of(answer.usage))


def chat(thing: dict[str, Any]) -> Any:
    return understood(client.chat(model=thing["model"], messages=ASK))


def gathered(stream: Any) -> Any:
    text, stop, usage = "", None, None
    calls: list[list[str]] = []
    for event in stream:
        if event.type == "content-delta":
            text += event.delta.message.content.text or ""
        elif event.type == "tool-call-start":
            call = event.delta.message.tool_calls
            calls.append([call.id, call.function.name, call.function.arguments or ""])
        elif event.type == "tool-call-delta":
            calls[-1][2] += event.delta.message.tool_calls.function.arguments
        elif event.type == "message-end":
            stop, usage = event.delta.finish_reason, usage_of(event.delta.usage)
            if stop == "ERROR":
                raise RuntimeError(f"message-end says ERROR: {event.delta}")
    if stop is None:
        raise RuntimeError("the stream has no end")
    return said(text, [(id, name, given) for id, name, given in calls], stop, usage)


def chat_stream(thing: dict[str, Any]) -> Any:
    return gathered(client.chat_stream(model=thing["model"], messages=ASK))


def tools(thing: dict[str, Any]) -> Any:
    return understood(client.chat(model=thing["model"], messages=ASK, tools=TOOLS))


def tools_stream(thing: dict[str, Any]) -> Any:
    return gathered(client.chat_stream(model=thing["model"], messages=ASK, tools=TOOLS))


def loop(thing: dict[str, Any]) -> Any:
    first = client.chat(model=thing["model"], messages=ASK, tools=TOOLS)
    results = [{"role": "tool", "tool_call_id": call.id, "content": RESULT} for call in first.message.tool_calls or []]
    mine: Any = [*ASK, first.message, *results]
    return understood(client.chat(model=thing["model"], messages=mine, tools=TOOLS))


def embeddings(thing: dict[str, Any]) -> Any:
    answer = client.embed(model=thing["model"], texts=["a", "b"], input_type="search_query", embedding_types=["float"])
    return {"vectors": answer.embeddings.float_}


run({name: value for name, value in list(globals().items()) if callable(value)})
