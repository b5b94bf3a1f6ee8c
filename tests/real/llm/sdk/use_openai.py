"""The official openai package: chat, responses, completions, embeddings; strict validation on."""

from __future__ import annotations

import json
from typing import Any

import openai
from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said


def made(strict: bool) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=JOB["base"] + "/v1", api_key=JOB["key"], max_retries=JOB.get("retries", 0), timeout=30,
        _strict_response_validation=strict,
    )  # fmt: skip


client = made(True)
loose = made(False)
"""For what the package's own types do not allow and OpenAI does: a null finish reason in streams of completions, and
embeddings that are packed."""
ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
FUNCTION = {"name": "get_weather", "description": DESCRIBED, "parameters": SCHEMA}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
FLAT: Any = [{"type": "function", "strict": False, **FUNCTION}]


def usage_of(usage: Any) -> tuple[int, int] | None:
    return (usage.prompt_tokens, usage.completion_tokens) if usage else None


def understood(answer: Any) -> Any:
    (choice,) = answer.choices
    message = choice.message
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]
    thought = getattr(message, "reasoning_content", None) or ""
    return said(message.content or "", calls, choice.finish_reason, usage_of(answer.usage), thought)


def chat(thing: dict[str, Any]) -> Any:
    return understood(client.chat.completions.create(model=thing["model"], messages=ASK, **thing.get("more", {})))


def chat_stream(thing: dict[str, Any]) -> Any:
    more = {"stream_options": {"include_usage": True}, **thing.get("more", {})}
    return gathered(client.chat.completions.create(model=thing["model"], messages=ASK, stream=True, **more))


def chat_stream_bare(thing: dict[str, Any]) -> Any:
    """Without asking for usage: none may come."""
    return gathered(client.chat.completions.create(model=thing["model"], messages=ASK, stream=True))


def gathered(stream: Any) -> Any:
    text, thought, stop, usage = "", "", None, None
    calls: dict[int, list[str]] = {}
    for chunk in stream:
        if chunk.usage:
            usage = usage_of(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            stop = choice.finish_reason or stop
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index, ["", "", ""])
                known[0] = call.id or known[0]
                if call.function:
                    known[1] += call.function.name or ""
                    known[2] += call.function.arguments or ""
    return said(text, [(id, name, given) for id, name, given in calls.values()], stop, usage, thought)


def tools(thing: dict[str, Any]) -> Any:
    return understood(client.chat.completions.create(model=thing["model"], messages=ASK, tools=TOOLS))


def tools_stream(thing: dict[str, Any]) -> Any:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model=thing["model"], messages=ASK, tools=TOOLS, stream=True, stream_options=options
    )
    return gathered(stream)


def tools_helper(thing: dict[str, Any]) -> Any:
    """The package's own assembly of a stream."""
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(
        model=thing["model"], messages=ASK, tools=TOOLS, stream_options=options
    ) as stream:
        for _ in stream:
            pass
        return understood(stream.get_final_completion())


def loop(thing: dict[str, Any]) -> Any:
    """Ask with tools, send both results, hear the text."""
    first = client.chat.completions.create(model=thing["model"], messages=ASK, tools=TOOLS)
    message = first.choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": RESULT} for call in message.tool_calls or []]
    mine: Any = [*ASK, message.model_dump(exclude_none=True), *results]
    return understood(client.chat.completions.create(model=thing["model"], messages=mine, tools=TOOLS))


def responses(thing: dict[str, Any]) -> Any:
    return responded(client.responses.create(model=thing["model"], input=QUESTION, instructions="Be brief."))


def responded(answer: Any) -> Any:
    calls = [(item.call_id, item.name, item.arguments) for item in answer.output if item.type == "function_call"]
    reasoning = [item for item in answer.output if item.type == "reasoning"]
    thoughts = [part.text for item in reasoning for part in (item.summary or item.content or [])]
    usage = (answer.usage.input_tokens, answer.usage.output_tokens) if answer.usage else None
    return said(answer.output_text, calls, answer.status, usage, "".join(thoughts))


def responses_stream(thing: dict[str, Any]) -> Any:
    return streamed(client.responses.create(model=thing["model"], input=QUESTION, stream=True))


def streamed(stream: Any) -> Any:
    """The final response, which must say what the deltas said."""
    text, final, numbers = "", None, []
    for event in stream:
        numbers.append(event.sequence_number)
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            final = event.response
    assert numbers == list(range(len(numbers))), numbers
    assert final is not None, "the stream has no end"
    found = responded(final)
    assert found["text"] == text, (found["text"], text)
    return found


def responses_tools(thing: dict[str, Any]) -> Any:
    return responded(client.responses.create(model=thing["model"], input=QUESTION, tools=FLAT))


def responses_tools_stream(thing: dict[str, Any]) -> Any:
    return streamed(client.responses.create(model=thing["model"], input=QUESTION, tools=FLAT, stream=True))


def responses_helper(thing: dict[str, Any]) -> Any:
    with client.responses.stream(model=thing["model"], input=QUESTION, tools=FLAT) as stream:
        for _ in stream:
            pass
        return responded(stream.get_final_response())


def responses_loop(thing: dict[str, Any]) -> Any:
    first = client.responses.create(model=thing["model"], input=QUESTION, tools=FLAT)
    mine: Any = [{"role": "user", "content": QUESTION}]
    mine += [item.model_dump(exclude_none=True) for item in first.output]
    mine += [
        {"type": "function_call_output", "call_id": item.call_id, "output": RESULT}
        for item in first.output
        if item.type == "function_call"
    ]
    return responded(client.responses.create(model=thing["model"], input=mine, tools=FLAT))


def completions(thing: dict[str, Any]) -> Any:
    answer = client.completions.create(model=thing["model"], prompt=QUESTION, max_tokens=50)
    return said(answer.choices[0].text, [], answer.choices[0].finish_reason, usage_of(answer.usage))


def completions_stream(thing: dict[str, Any]) -> Any:
    options: Any = {"include_usage": True}
    text, stop, usage = "", None, None
    for chunk in loose.completions.create(
        model=thing["model"], prompt=QUESTION, max_tokens=50, stream=True, stream_options=options
    ):
        usage = usage_of(chunk.usage) or usage
        for choice in chunk.choices:
            text += choice.text
            stop = choice.finish_reason or stop
    return said(text, [], stop, usage)


def embeddings(thing: dict[str, Any]) -> Any:
    answer = client.embeddings.create(model=thing["model"], input=["a", "b"], encoding_format="float")
    packed = loose.embeddings.create(model=thing["model"], input=["a", "b"])
    assert [row.embedding for row in packed.data] == [row.embedding for row in answer.data]
    return {"vectors": [row.embedding for row in answer.data], "usage": answer.usage.prompt_tokens}


def models(thing: dict[str, Any]) -> Any:
    return {"ids": [model.id for model in client.models.list()]}


def fields(thing: dict[str, Any]) -> Any:
    """What stands in the answer's head."""
    raw = client.chat.completions.with_raw_response.create(model=thing["model"], messages=ASK)
    return {"fields": dict(raw.headers), **json.loads(json.dumps(understood(raw.parse())))}


run({name: value for name, value in list(globals().items()) if callable(value)})
