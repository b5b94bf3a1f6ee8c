"""The official mistralai package: chat, whole and streamed."""

from __future__ import annotations

from typing import Any

from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said
from mistralai.client import Mistral

client = Mistral(api_key=JOB["key"], server_url=JOB["base"], timeout_ms=30_000)
ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "description": DESCRIBED, "parameters": SCHEMA}}]


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(getattr(part, "text", "") for part in content)
    return content if isinstance(content, str) else ""


def understood(answer: Any) -> Any:
    (choice,) = answer.choices
    calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return said(text_of(choice.message.content), calls, choice.finish_reason, usage)


def chat(thing: dict[str, Any]) -> Any:
    return understood(client.chat.complete(model=thing["model"], messages=ASK))


def gathered(stream: Any) -> Any:
    text, stop, usage = "", None, None
    calls: dict[int, list[str]] = {}
    for event in stream:
        chunk = event.data
        if chunk.usage:
            usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            text += text_of(choice.delta.content)
            stop = choice.finish_reason or stop
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index or 0, ["", "", ""])
                if call.id and call.id != "null":
                    known[0] = call.id
                known[1] = known[1] or call.function.name
                given = call.function.arguments
                known[2] += given if isinstance(given, str) else ""
    return said(text, [(id, name, given) for id, name, given in calls.values()], stop, usage)


def chat_stream(thing: dict[str, Any]) -> Any:
    with client.chat.stream(model=thing["model"], messages=ASK) as stream:
        return gathered(stream)


def tools(thing: dict[str, Any]) -> Any:
    return understood(client.chat.complete(model=thing["model"], messages=ASK, tools=TOOLS))


def tools_stream(thing: dict[str, Any]) -> Any:
    with client.chat.stream(model=thing["model"], messages=ASK, tools=TOOLS) as stream:
        return gathered(stream)


def loop(thing: dict[str, Any]) -> Any:
    first = client.chat.complete(model=thing["model"], messages=ASK, tools=TOOLS)
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": RESULT}
        for call in message.tool_calls or []
    ]
    return understood(client.chat.complete(model=thing["model"], messages=[*ASK, message, *results], tools=TOOLS))


run({name: value for name, value in list(globals().items()) if callable(value)})
