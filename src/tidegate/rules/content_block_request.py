"""A request in Anthropic's words as a neutral one (LLM 5.1, 5.2, 5.4, 5.6). Raises ``WrongShape`` with the place."""

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
from tidegate.rules.content_blocks import NAME, bag, read_cache, read_content, take_string
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
    strings,
)

_NEUTRAL: Final = {
    "max_tokens": "max_output", "stop_sequences": "stop", "output_config": "output", "service_tier": "tier",
    "cache_control": "cache", "provider_options": "options",
}  # fmt: skip
_SHOWN: Final = {"summarized": "summary", "omitted": "none"}


def read_request(body: bytes, model: str, fields: dict[str, str]) -> ChatRequest:
    """The request in *body*; *model* where the path names it, *fields* as in ``ports.dialect.Hints``."""
    found = members(body)
    cleared = tuple([_NEUTRAL.get(name, name) for name, value in found.items() if value == NULL])
    for name in [name for name, value in found.items() if value == NULL]:
        del found[name]
    messages: list[Message] = []
    system = found.pop("system", None)
    if system is not None:
        messages.append(Message("system", read_content(system, "system", "", {})))
    for at, raw in enumerate(items(found.pop("messages", b"[]"), "messages")):
        _read_message(raw, f"messages[{at}]", messages)
    choice, parallel = _read_choice(found)
    tier = _read_tier(found)
    rest: dict[str, bytes] = {}
    thinking, output = _read_thinking(found, rest)
    user = ""
    metadata = found.pop("metadata", None)
    if metadata is not None:
        told = members(metadata, "metadata")
        user = take_string(told, "user_id", "metadata")
        rest.update({f"metadata.{name}": value for name, value in told.items()})
    sampling = Sampling(
        temperature=number(found.pop("temperature"), "temperature") if "temperature" in found else None,
        top_p=number(found.pop("top_p"), "top_p") if "top_p" in found else None,
        top_k=integer(found.pop("top_k"), "top_k") if "top_k" in found else None,
    )  # fmt: skip
    options = found.pop("provider_options", None)
    request = ChatRequest(
        model=model or take_string(found, "model", "body"),
        messages=tuple(messages),
        tools=tuple([
            _read_tool(raw, f"tools[{at}]") for at, raw in enumerate(items(found.pop("tools", b"[]"), "tools"))
        ]),
        tool_choice=choice,
        parallel_tools=parallel,
        output=output,
        thinking=thinking,
        sampling=sampling,
        max_output=integer(found.pop("max_tokens"), "max_tokens") if "max_tokens" in found else None,
        stop=tuple(strings(found.pop("stop_sequences", b"[]"), "stop_sequences")),
        stream="stream" in found and flag(found.pop("stream"), "stream"),
        want_usage=True,
        tier=tier,
        user=user,
        cache=read_cache(found),
        fields={name: value for name, value in fields.items() if name.startswith("anthropic-")},
        options={} if options is None else read_options(options),
        cleared=cleared,
    )  # fmt: skip
    found.pop("model", None)
    rest.update(found)
    return msgspec.structs.replace(request, extra=bag(rest)) if rest else request


def _read_message(raw: bytes, path: str, messages: list[Message]) -> None:
    """One turn; results of tools in a user's become a turn of their own in front of the rest."""
    found = members(raw, path)
    role = take_string(found, "role", path)
    content = found.pop("content", b"")
    parts = read_content(content, f"{path}.content", "", {})
    extra = bag(found)
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


def _read_tool(raw: bytes, path: str) -> Tool:
    found = members(raw, path)
    kind = found.get("type", NULL)
    name = take_string(found, "name", path)
    if kind not in (NULL, b'"custom"'):
        return Tool(name=name, kind="server", dialect=NAME, value=raw)
    strict = found.pop("strict", NULL)
    schema = found.pop("input_schema", b"")
    if schema and not is_object(schema):
        raise WrongShape(f"{path}.input_schema", "an object")
    return Tool(
        name=name, description=take_string(found, "description", path), schema=schema,
        strict=None if strict == NULL else flag(strict, f"{path}.strict"), cache=read_cache(found), extra=bag(found),
    )  # fmt: skip


def _read_choice(found: dict[str, bytes]) -> tuple[ToolChoice, bool | None]:
    value = found.pop("tool_choice", None)
    if value is None:
        return ToolChoice(), None
    told = members(value, "tool_choice")
    kind = take_string(told, "type", "tool_choice")
    single = told.get("disable_parallel_tool_use", NULL)
    parallel = None if single == NULL else not flag(single, "tool_choice.disable_parallel_tool_use")
    if kind == "auto":
        return ToolChoice(), parallel
    if kind == "any":
        return ToolChoice("required"), parallel
    if kind == "none":
        return ToolChoice("none"), parallel
    if kind == "tool":
        return ToolChoice("one", (take_string(told, "name", "tool_choice"),)), parallel
    raise WrongShape("tool_choice.type", "auto, any, tool or none")


def _read_tier(found: dict[str, bytes]) -> str:
    tier = ""
    told = found.get("service_tier", b"")
    if told in (b'"auto"', b'"standard_only"'):
        del found["service_tier"]
        tier = "auto" if told == b'"auto"' else "standard"
    if found.get("speed") == b'"fast"':
        del found["speed"]
        if tier:
            found["service_tier"] = told
        tier = "fast"
    return tier


def _read_thinking(found: dict[str, bytes], rest: dict[str, bytes]) -> tuple[Thinking | None, Output | None]:
    """``thinking`` with ``output_config``; what has no neutral name goes to *rest*."""
    config = members(found.pop("output_config", b"{}"), "output_config")
    effort = take_string(config, "effort", "output_config")
    output: Output | None = None
    form = config.get("format", NULL)
    if is_object(form):
        told = members(form, "output_config.format")
        if told.keys() == {"type", "schema"} and told["type"] == b'"json_schema"':
            output = Output("schema", schema=told["schema"])
            del config["format"]
    rest.update({f"output_config.{name}": value for name, value in config.items()})
    value = found.pop("thinking", None)
    if value is None:
        return (Thinking("on", effort, extra=Extra(NAME)) if effort else None), output
    told = members(value, "thinking")
    kind = take_string(told, "type", "thinking")
    budget = integer(told.pop("budget_tokens"), "thinking.budget_tokens") if "budget_tokens" in told else 0
    show = told.get("display", b"")[1:-1].decode("latin-1")
    thinking = Thinking("adaptive", effort, budget)
    if kind == "enabled":
        thinking = Thinking("on", effort, budget)
        if not budget:
            told["type"] = b'"enabled"'
    elif kind == "disabled":
        thinking = Thinking("off", effort)
    elif kind != "adaptive":
        told["type"] = encode(kind)
    if show in _SHOWN:
        del told["display"]
        thinking = msgspec.structs.replace(thinking, show=_SHOWN[show])
    return msgspec.structs.replace(thinking, extra=Extra(NAME, tuple(told.items()))), output
