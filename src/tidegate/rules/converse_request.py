"""The body of a Converse call, read into the neutral request (LLM 5.1, 5.2, 5.4-5.7)."""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.chat import (
    ChatRequest,
    Extra,
    Message,
    Output,
    Role,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
)
from tidegate.rules.addressed_options import read_options
from tidegate.rules.content_blocks import take_string
from tidegate.rules.converse_blocks import NAME, bag, read_content, read_mark
from tidegate.rules.converse_usage import read_tier, tier_object
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    flag,
    integer,
    is_object,
    items,
    members,
    number,
    raw_of,
    strings,
)

USER: Final = "user"
"""The member of ``requestMetadata`` that tells the end user."""
_CLEARED: Final = {
    "inferenceConfig": "max_output", "toolConfig": "tools", "outputConfig": "output", "requestMetadata": "metadata",
    "serviceTier": "tier", "provider_options": "options",
}  # fmt: skip
_SHOWN: Final = {b'"summarized"': "summary", b'"omitted"': "none"}


def read_converse_request(body: bytes, model: str, stream: bool) -> ChatRequest:
    """The request; *model* and *stream* as the path tells them. Raises ``WrongShape``."""
    found = members(body)
    cleared = tuple([_CLEARED.get(name, name) for name, value in found.items() if value == NULL])
    for name in [name for name, value in found.items() if value == NULL]:
        del found[name]
    messages: list[Message] = []
    if "system" in found:
        messages.append(Message("system", read_content(found.pop("system"), "system", "", {})))
    for at, raw in enumerate(items(found.pop("messages", b"[]"), "messages")):
        _read_message(raw, f"messages[{at}]", messages)
    rest: list[tuple[str, bytes]] = []
    config = members(found.pop("inferenceConfig", b"{}"), "inferenceConfig")
    limit = config.pop("maxTokens", NULL)
    temperature, top_p = config.pop("temperature", NULL), config.pop("topP", NULL)
    stop = tuple(strings(config.pop("stopSequences", b"[]"), "inferenceConfig.stopSequences"))
    rest += bag(config, "inferenceConfig.")
    more = members(found.pop("additionalModelRequestFields", b"{}"), "additionalModelRequestFields")
    top_k = more.pop("top_k", NULL)
    thinking, output = _read_output(found, more, rest)
    rest += bag(more, "additionalModelRequestFields.")
    tools, choice = _read_tools(found, rest)
    metadata, user = _read_metadata(found)
    tier = read_tier(found.get("serviceTier"))
    if tier and members(found["serviceTier"]).keys() == {"type"} and tier_object(tier) is not None:
        del found["serviceTier"]
    else:
        tier = ""
    options = found.pop("provider_options", None)
    model = model or take_string(found, "modelId", "body")
    found.pop("modelId", None)
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice,
        output=output,
        thinking=thinking,
        sampling=Sampling(
            temperature=None if temperature == NULL else number(temperature, "inferenceConfig.temperature"),
            top_p=None if top_p == NULL else number(top_p, "inferenceConfig.topP"),
            top_k=None if top_k == NULL else integer(top_k, "additionalModelRequestFields.top_k"),
        ),
        max_output=None if limit == NULL else integer(limit, "inferenceConfig.maxTokens"),
        stop=stop,
        stream=stream,
        want_usage=True,
        tier=tier,
        user=user,
        metadata=metadata,
        options={} if options is None else read_options(options),
        cleared=cleared,
        extra=Extra(NAME, (*rest, *found.items())) if rest or found else None,
    )


def _read_message(raw: bytes, path: str, messages: list[Message]) -> None:
    """One turn; results of tools in a user's become a turn of their own in front of the rest."""
    found = members(raw, path)
    role = take_string(found, "role", path)
    parts = read_content(found.pop("content", b"[]"), f"{path}.content", "", {})
    extra = Extra(NAME, tuple(found.items())) if found else None
    if role == "user":
        results = tuple([part for part in parts if isinstance(part, ToolResult)])
        if results:
            others = tuple([part for part in parts if not isinstance(part, ToolResult)])
            messages.append(Message("tool", results, extra=None if others else extra))
            if not others:
                return
            parts, raw = others, b""
    elif role not in ("assistant", "system"):
        raise WrongShape(f"{path}.role", "user, assistant or system")
    said: Role = "user" if role == "user" else "assistant" if role == "assistant" else "system"
    messages.append(Message(said, parts, extra=extra, raw=raw))


def _read_tools(found: dict[str, bytes], rest: list[tuple[str, bytes]]) -> tuple[tuple[Tool, ...], ToolChoice]:
    config = members(found.pop("toolConfig", b"{}"), "toolConfig")
    tools: list[Tool] = []
    for at, raw in enumerate(items(config.pop("tools", b"[]"), "toolConfig.tools")):
        path = f"toolConfig.tools[{at}]"
        mark = read_mark(raw) if tools else None
        if mark is not None and tools[-1].cache is None:
            tools[-1] = msgspec.structs.replace(tools[-1], cache=mark)
        else:
            tools.append(_read_tool(raw, members(raw, path), path))
    choice = ToolChoice()
    value = config.pop("toolChoice", NULL)
    if value != NULL:
        told = members(value, "toolConfig.toolChoice")
        if "any" in told:
            choice = ToolChoice("required")
        elif "tool" in told:
            one = members(told["tool"], "toolConfig.toolChoice.tool")
            choice = ToolChoice("one", (take_string(one, "name", "toolConfig.toolChoice.tool"),))
        elif "auto" not in told:
            raise WrongShape("toolConfig.toolChoice", "auto, any or tool")
    rest += bag(config, "toolConfig.")
    return tuple(tools), choice


def _read_tool(raw: bytes, found: dict[str, bytes], path: str) -> Tool:
    if found.keys() != {"toolSpec"}:
        kind = next(iter(found), "")
        name = ""
        if kind == "systemTool":
            name = take_string(members(found[kind], path), "name", path)
        return Tool(name=name or kind, kind="server", dialect=NAME, value=raw)
    told = members(found["toolSpec"], f"{path}.toolSpec")
    schema = members(told.pop("inputSchema", b"{}"), f"{path}.toolSpec.inputSchema").get("json", b"")
    if schema and not is_object(schema):
        raise WrongShape(f"{path}.toolSpec.inputSchema.json", "an object")
    strict = told.pop("strict", NULL)
    name = take_string(told, "name", path)
    description = take_string(told, "description", path)
    return Tool(
        name=name, description=description, schema=schema,
        strict=None if strict == NULL else flag(strict, f"{path}.toolSpec.strict"),
        extra=Extra(NAME, tuple(told.items())) if told else None,
    )  # fmt: skip


def _read_metadata(found: dict[str, bytes]) -> tuple[bytes, str]:
    """``requestMetadata`` and the user in it."""
    value = found.pop("requestMetadata", None)
    if value is None:
        return b"", ""
    told = members(value, "requestMetadata")
    if USER not in told:
        return value, ""
    user = take_string(told, USER, "requestMetadata")
    rest = encode({name: raw_of(member) for name, member in told.items()}) if told else b""
    return rest, user


def _read_output(
    found: dict[str, bytes], more: dict[str, bytes], rest: list[tuple[str, bytes]]
) -> tuple[Thinking | None, Output | None]:
    """``outputConfig`` with the model's own ``thinking``; what has no neutral name goes to *rest*."""
    config = members(found.pop("outputConfig", b"{}"), "outputConfig")
    effort = take_string(config, "effort", "outputConfig")
    output: Output | None = None
    form = members(config.get("textFormat", b"{}"), "outputConfig.textFormat")
    if form.get("type") == b'"json_schema"' and is_object(form.get("structure", b"")):
        inner = members(members(form["structure"]).get("jsonSchema", b"{}"), "outputConfig.textFormat.structure")
        path = "outputConfig.textFormat.structure.jsonSchema"
        schema = take_string(inner, "schema", path).encode()
        if schema and not is_object(schema.lstrip()):
            raise WrongShape(f"{path}.schema", "the text of a JSON object")
        members(schema or b"{}", f"{path}.schema")
        output = Output("schema", take_string(inner, "name", path), schema,
                        description=take_string(inner, "description", path))  # fmt: skip
        del config["textFormat"]
    rest += bag(config, "outputConfig.")
    value = more.get("thinking", b"")
    if not is_object(value):
        return (Thinking("on", effort, extra=Extra(NAME)) if effort else None), output
    del more["thinking"]
    told = members(value)
    kind = take_string(told, "type", "additionalModelRequestFields.thinking")
    budget = integer(told.pop("budget_tokens"), "budget_tokens") if "budget_tokens" in told else 0
    thinking = Thinking("on", effort, budget)
    if kind == "disabled":
        thinking = Thinking("off", effort)
    elif kind == "adaptive":
        thinking = Thinking("adaptive", effort, budget)
    elif kind != "enabled" or not budget:
        told["type"] = encode(kind)
    if told.get("display") in _SHOWN:
        shown = _SHOWN[told.pop("display")]
        thinking = msgspec.structs.replace(thinking, show=shown)
    return msgspec.structs.replace(thinking, extra=Extra(NAME, tuple(told.items()))), output
