"""A request in Gemini's words as a neutral one (LLM 5.1, 5.2, 5.4, 5.6). Raises ``WrongShape`` with the place."""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.chat import (
    ChatRequest,
    Extra,
    Message,
    Output,
    Part,
    Role,
    Sampling,
    State,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
)
from tidegate.rules.addressed_options import read_options
from tidegate.rules.generate_parts import NAME, PartReader, bag, camel_members, read_parts, take_string
from tidegate.rules.schema_subset import from_subset
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    flag,
    integer,
    is_object,
    is_string,
    items,
    members,
    number,
    raw_of,
    strings,
)

_CLEARED: Final = {
    "systemInstruction": "system", "toolConfig": "tool_choice", "serviceTier": "tier", "labels": "metadata",
    "store": "state", "contents": "messages", "generationConfig": "sampling",
}  # fmt: skip


def read_request(body: bytes, model: str, stream: bool) -> ChatRequest:
    """The request in *body*; the path tells *model* and *stream*."""
    given = members(body)
    counted = given.get("generateContentRequest")
    if counted is not None:  # a body of :countTokens may wrap the request whose tokens are asked for
        body, given = counted, members(counted, "generateContentRequest")
    options = given.pop("provider_options", None)
    found = camel_members(body, "") if options is None else {
        name: value for name, value in camel_members(body, "").items() if name != "providerOptions"
    }  # fmt: skip
    messages: list[Message] = []
    system = found.pop("systemInstruction", None)
    if system is not None:
        _read_content(system, "systemInstruction", 0, messages, [], "system")
    contents = found.pop("contents", b"[]")
    pending: list[tuple[str, str]] = []
    for at, raw in enumerate(items(contents, "contents") if not is_object(contents) else [contents]):
        pending = _read_content(raw, f"contents[{at}]", at, messages, pending, "")
    rest: dict[str, bytes] = {}
    config = camel_members(found.pop("generationConfig", b"{}"), "generationConfig")
    request = ChatRequest(
        model=model or take_string(found, "model", "body"),
        messages=tuple(messages),
        tools=tuple(_read_tools(found)),
        tool_choice=_read_choice(found, rest),
        output=_read_output(config),
        thinking=_read_thinking(config),
        sampling=_read_sampling(config),
        max_output=integer(config.pop("maxOutputTokens"), "maxOutputTokens") if "maxOutputTokens" in config else None,
        stop=tuple(strings(config.pop("stopSequences", b"[]"), "generationConfig.stopSequences")),
        stream=stream,
        want_usage=True,
        state=State(store=flag(found.pop("store"), "store")) if "store" in found else None,
        tier=take_string(found, "serviceTier", "body").lower(),
        metadata=_object(found, "labels"),
        options={} if options is None else read_options(options),
        cleared=tuple([_CLEARED.get(name, name) for name, value in given.items() if value == NULL]),
    )
    found.pop("model", None)
    rest.update({f"generationConfig.{name}": value for name, value in config.items()})
    rest.update(found)
    return msgspec.structs.replace(request, extra=bag(rest)) if rest else request


def _read_content(
    raw: bytes, path: str, at: int, messages: list[Message], pending: list[tuple[str, str]], said: str
) -> list[tuple[str, str]]:
    """One content object as turns: results of tools become one of their own. Returns the calls that still wait."""
    if is_string(raw):
        found = {"parts": raw}
    else:
        found = camel_members(raw, path)
    role = said or take_string(found, "role", path) or "user"
    if said:
        found.pop("role", None)
    if role not in ("user", "model", "function", "tool", "system"):
        raise WrongShape(f"{path}.role", "user or model")
    reader = PartReader("", {}, str(at))
    waiting = list(pending)
    parts = read_parts(found.pop("parts", b"[]"), f"{path}.parts", reader, waiting)
    extra = bag(found)
    results: tuple[Part, ...] = tuple([part for part in parts if isinstance(part, ToolResult)])
    others = tuple([part for part in parts if not isinstance(part, ToolResult)])
    speaker: Role = "assistant" if role == "model" else "system" if role == "system" else "user"
    if results:
        messages.append(Message("tool", results, extra=None if others else extra))
    if others or not results:
        messages.append(Message(speaker, others, extra=extra, raw=b"" if results else raw))
    return reader.calls if role == "model" else waiting


def _read_tools(found: dict[str, bytes]) -> list[Tool]:
    tools: list[Tool] = []
    for at, raw in enumerate(items(found.pop("tools", b"[]"), "tools")):
        for name, value in camel_members(raw, f"tools[{at}]").items():
            if name != "functionDeclarations":
                tools.append(Tool(name, kind="server", dialect=NAME, value=encode({name: raw_of(value)})))
                continue
            for position, one in enumerate(items(value, f"tools[{at}].functionDeclarations")):
                path = f"tools[{at}].functionDeclarations[{position}]"
                told = camel_members(one, path)
                schema = told.pop("parametersJsonSchema", b"")
                subset = told.pop("parameters", b"")
                schema = schema or (from_subset(subset) if subset else b"")
                if schema and not is_object(schema):
                    raise WrongShape(f"{path}.parameters", "an object")
                title, description = take_string(told, "name", path), take_string(told, "description", path)
                tools.append(Tool(title, description, schema, extra=bag(told)))
    return tools


def _read_choice(found: dict[str, bytes], rest: dict[str, bytes]) -> ToolChoice:
    config = camel_members(found.pop("toolConfig", b"{}"), "toolConfig")
    value = config.pop("functionCallingConfig", None)
    rest.update({f"toolConfig.{name}": kept for name, kept in config.items()})
    if value is None:
        return ToolChoice()
    told = camel_members(value, "toolConfig.functionCallingConfig")
    mode = take_string(told, "mode", "toolConfig.functionCallingConfig").upper() or "AUTO"
    names = tuple(strings(told.pop("allowedFunctionNames", b"[]"), "toolConfig.functionCallingConfig"))
    if told or (mode == "VALIDATED" and not names):
        rest["toolConfig.functionCallingConfig"] = value
        return ToolChoice()
    if mode == "NONE":
        return ToolChoice("none")
    if mode == "ANY":
        if len(names) == 1:
            return ToolChoice("one", names)
        return ToolChoice("subset", names, required=True) if names else ToolChoice("required")
    return ToolChoice("subset", names) if names else ToolChoice()


def _read_output(config: dict[str, bytes]) -> Output | None:
    kinds: tuple[str, ...] = ()
    if "responseModalities" in config:
        kinds = tuple([kind.lower() for kind in strings(config.pop("responseModalities"), "responseModalities")])
    if config.get("responseMimeType") == b'"application/json"':
        del config["responseMimeType"]
        schema = config.pop("responseJsonSchema", b"")
        subset = config.pop("responseSchema", b"")
        schema = schema or (from_subset(subset) if subset else b"")
        return Output("schema" if schema else "json", schema=schema, modalities=kinds)
    return Output("text", modalities=kinds) if kinds else None


def _read_thinking(config: dict[str, bytes]) -> Thinking | None:
    value = config.pop("thinkingConfig", None)
    if value is None:
        return None
    told = camel_members(value, "generationConfig.thinkingConfig")
    effort = take_string(told, "thinkingLevel", "thinkingConfig").lower()
    budget = integer(told.pop("thinkingBudget"), "thinkingBudget") if "thinkingBudget" in told else None
    shown = told.pop("includeThoughts", b"")
    thinking = Thinking("on" if effort or budget else "adaptive", effort, budget or 0)
    if budget == 0:
        thinking = Thinking("off", effort)
    elif budget is not None and budget < 0:
        thinking = Thinking("adaptive", effort, -1)
    if shown:
        show = flag(shown, "includeThoughts")
        thinking = msgspec.structs.replace(thinking, show="summary" if show else "none")
    return msgspec.structs.replace(thinking, extra=Extra(NAME, tuple(told.items())))


def _read_sampling(config: dict[str, bytes]) -> Sampling:
    def real(name: str) -> float | None:
        return number(config.pop(name), f"generationConfig.{name}") if name in config else None

    def whole(name: str) -> int | None:
        return integer(config.pop(name), f"generationConfig.{name}") if name in config else None

    n, top = whole("candidateCount"), whole("logprobs")
    return Sampling(
        temperature=real("temperature"), top_p=real("topP"), top_k=whole("topK"), seed=whole("seed"),
        frequency_penalty=real("frequencyPenalty"), presence_penalty=real("presencePenalty"),
        logprobs=flag(config.pop("responseLogprobs"), "responseLogprobs") if "responseLogprobs" in config else None,
        top_logprobs=-1 if top is None else top, n=1 if n is None else n,
    )  # fmt: skip


def _object(found: dict[str, bytes], name: str) -> bytes:
    """The object *name*, taken out of *found*; b"" for none."""
    value = found.pop(name, b"")
    if value and not is_object(value):
        raise WrongShape(name, "an object")
    return value
