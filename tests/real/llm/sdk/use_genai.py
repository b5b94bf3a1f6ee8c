"""The official google-genai package, at ``v1`` and ``v1beta``."""

from __future__ import annotations

import asyncio
from typing import Any

from google import genai
from google.genai import types
from job import DESCRIBED, JOB, QUESTION, RESULT, SCHEMA, run, said

CLIENTS: dict[str, genai.Client] = {}
TOOLS: Any = [
    types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name="get_weather", description=DESCRIBED, parameters_json_schema=SCHEMA)
        ]
    )
]


def client(thing: dict[str, Any]) -> genai.Client:
    version = thing.get("version", "v1beta")
    if version not in CLIENTS:
        options = types.HttpOptions(base_url=JOB["base"], api_version=version, timeout=30_000)
        CLIENTS[version] = genai.Client(api_key=JOB["key"], vertexai=False, http_options=options)
    return CLIENTS[version]


def config(tools: bool) -> Any:
    return types.GenerateContentConfig(
        system_instruction="Be brief.", max_output_tokens=200, tools=TOOLS if tools else None,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )  # fmt: skip


def understood(*answers: Any) -> Any:
    text, thought, stop, usage = "", "", None, None
    calls = []
    for answer in answers:
        if answer.usage_metadata and answer.usage_metadata.prompt_token_count is not None:
            told = answer.usage_metadata
            usage = (told.prompt_token_count, (told.candidates_token_count or 0) + (told.thoughts_token_count or 0))
        for candidate in answer.candidates or []:
            stop = candidate.finish_reason.value if candidate.finish_reason else stop
            for part in (candidate.content.parts if candidate.content else None) or []:
                if part.function_call:
                    calls.append((part.function_call.id, part.function_call.name, part.function_call.args))
                elif part.thought:
                    thought += part.text or ""
                else:
                    text += part.text or ""
    return said(text, calls, stop, usage, thought)


def ask(thing: dict[str, Any], tools: bool = False, contents: Any = QUESTION) -> Any:
    return client(thing).models.generate_content(model=thing["model"], contents=contents, config=config(tools))


def ask_stream(thing: dict[str, Any], tools: bool = False) -> Any:
    return understood(
        *client(thing).models.generate_content_stream(model=thing["model"], contents=QUESTION, config=config(tools))
    )


def generate(thing: dict[str, Any]) -> Any:
    return understood(ask(thing))


def generate_stream(thing: dict[str, Any]) -> Any:
    return ask_stream(thing)


def generate_async(thing: dict[str, Any]) -> Any:
    async def both() -> Any:
        one = await client(thing).aio.models.generate_content(
            model=thing["model"], contents=QUESTION, config=config(False)
        )
        pieces = [
            piece
            async for piece in await client(thing).aio.models.generate_content_stream(
                model=thing["model"], contents=QUESTION, config=config(False)
            )
        ]
        assert understood(one)["text"] == understood(*pieces)["text"]
        return understood(*pieces)

    return asyncio.run(both())


def tools(thing: dict[str, Any]) -> Any:
    return understood(ask(thing, True))


def tools_stream(thing: dict[str, Any]) -> Any:
    return ask_stream(thing, True)


def loop(thing: dict[str, Any]) -> Any:
    first = ask(thing, True)
    content = first.candidates[0].content
    results = [
        types.Part(
            function_response=types.FunctionResponse(
                id=part.function_call.id, name=part.function_call.name, response={"output": RESULT}
            )
        )
        for part in content.parts
        if part.function_call
    ]
    question = types.Content(role="user", parts=[types.Part(text=QUESTION)])
    contents = [question, content, types.Content(role="user", parts=results)]
    return understood(ask(thing, True, contents))


def count(thing: dict[str, Any]) -> Any:
    return {"count": client(thing).models.count_tokens(model=thing["model"], contents=QUESTION).total_tokens}


def embeddings(thing: dict[str, Any]) -> Any:
    answer = client(thing).models.embed_content(model=thing["model"], contents=["a", "b"])
    return {"vectors": [row.values for row in answer.embeddings or []]}


def models(thing: dict[str, Any]) -> Any:
    return {"ids": [model.name for model in client(thing).models.list()]}


run({name: value for name, value in list(globals().items()) if callable(value)})
