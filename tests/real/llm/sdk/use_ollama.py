"""The official ollama package: chat, whole and streamed."""

from __future__ import annotations

from typing import Any

import ollama
from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said

client = ollama.Client(host=JOB["base"], headers={"authorization": f"Bearer {JOB['key']}"}, timeout=30)
ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "description": DESCRIBED, "parameters": SCHEMA}}]


def gathered(*answers: Any) -> Any:
    text, thought, stop, usage = "", "", None, None
    calls = []
    for answer in answers:
        text += answer.message.content or ""
        thought += answer.message.thinking or ""
        calls += [("", call.function.name, dict(call.function.arguments)) for call in answer.message.tool_calls or []]
        if answer.done:
            stop = answer.done_reason
            usage = (answer.prompt_eval_count, answer.eval_count)
    return said(text, calls, stop, usage, thought)


def chat(thing: dict[str, Any]) -> Any:
    return gathered(client.chat(model=thing["model"], messages=ASK))


def chat_stream(thing: dict[str, Any]) -> Any:
    return gathered(*client.chat(model=thing["model"], messages=ASK, stream=True))


def tools(thing: dict[str, Any]) -> Any:
    return gathered(client.chat(model=thing["model"], messages=ASK, tools=TOOLS))


def tools_stream(thing: dict[str, Any]) -> Any:
    return gathered(*client.chat(model=thing["model"], messages=ASK, tools=TOOLS, stream=True))


def loop(thing: dict[str, Any]) -> Any:
    first = client.chat(model=thing["model"], messages=ASK, tools=TOOLS)
    results = [
        {"role": "tool", "tool_name": call.function.name, "content": RESULT} for call in first.message.tool_calls or []
    ]
    return gathered(client.chat(model=thing["model"], messages=[*ASK, first.message, *results], tools=TOOLS))


run({name: value for name, value in list(globals().items()) if callable(value)})
