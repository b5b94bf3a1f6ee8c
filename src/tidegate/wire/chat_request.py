"""The body of a chat completion call, read into the neutral request (LLM 5.1, 5.4-5.7).

Members in an older or a default spelling (``max_tokens``, ``user``, ``stop`` as a text, ``n: 1``) are remembered in the
request's ``extra`` with an empty value (``SAID``), so that the same dialect says them again as the client did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import (
    CacheMark,
    ChatRequest,
    Extra,
    Output,
    Raw,
    Sampling,
    State,
    Thinking,
    Tool,
    ToolChoice,
)
from tidegate.wire.chat_messages import read_message
from tidegate.wire.chat_parts import CHAT, seconds_of
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    flag,
    integer,
    is_object,
    is_string,
    items,
    members,
    number,
    objects,
    string,
    strings,
)

SAID: Final = b""
"""In an extra: said, in the spelling or with the value that goes without saying."""


def read_chat_request(body: bytes) -> ChatRequest:
    """The request; raises ``WrongShape``."""
    return _RequestReader(members(body)).request()


class _RequestReader:
    """Takes members out of the body until only unknown ones are left."""

    def __init__(self, told: dict[str, Raw]) -> None:
        self.cleared = tuple([name for name, value in told.items() if value == NULL])
        for name in self.cleared:
            del told[name]
        self.told = told
        self.said: list[str] = []

    def request(self) -> ChatRequest:
        told = self.told
        model = string(told.pop("model", b""), "model")
        messages = tuple(
            [
                read_message(raw, f"messages[{at}]")
                for at, raw in enumerate(items(told.pop("messages", b""), "messages"))
            ]
        )
        stream = self._take("stream", flag) or False
        if "stream" in self.said and stream:
            self.said.remove("stream")
        options = told.pop("provider_options", b"{}")
        request = ChatRequest(
            model=model,
            messages=messages,
            tools=self._tools(),
            tool_choice=self._tool_choice(),
            parallel_tools=self._take("parallel_tool_calls", flag),
            output=self._output(),
            thinking=self._thinking(),
            sampling=self._sampling(),
            max_output=self._max_output(),
            stop=self._stop(),
            stream=stream,
            want_usage=self._want_usage(),
            state=self._state(),
            tier=self._tier(),
            user=self._user(),
            metadata=self._raw("metadata"),
            prediction=told.pop("prediction", b""),
            cache=self._cache(),
            cache_key=self._take("prompt_cache_key", string) or "",
            options=objects(options, "provider_options"),
            cleared=self.cleared,
        )
        extra = [(name, SAID) for name in self.said]
        extra += told.items()
        return msgspec.structs.replace(request, extra=Extra(CHAT, tuple(extra)))

    def _take(self, name: str, read: Callable[[Raw, str], Any]) -> Any:
        value = self.told.pop(name, None)
        if value is None:
            return None
        if name == "stream":
            self.said.append(name)
        return read(value, name)

    def _raw(self, name: str) -> Raw:
        value = self.told.pop(name, b"")
        if value and not is_object(value):
            raise WrongShape(name, "an object")
        return value

    def _max_output(self) -> int | None:
        older = self.told.pop("max_tokens", None)
        value = self.told.pop("max_completion_tokens", None)
        if value is None and older is not None:
            self.said.append("max_tokens")
            return integer(older, "max_tokens")
        return None if value is None else integer(value, "max_completion_tokens")

    def _user(self) -> str:
        value = self.told.pop("safety_identifier", None)
        if value is None and "user" in self.told:
            self.said.append("user")
            return string(self.told.pop("user"), "user")
        return "" if value is None else string(value, "safety_identifier")

    def _stop(self) -> tuple[str, ...]:
        value = self.told.pop("stop", None)
        if value is None:
            return ()
        if is_string(value):
            self.said.append("stop")
            return (string(value, "stop"),)
        return tuple(strings(value, "stop"))

    def _sampling(self) -> Sampling:
        n = self._take("n", integer)
        if n == 1:
            self.said.append("n")
        top_logprobs = self._take("top_logprobs", integer)
        return Sampling(
            temperature=self._take("temperature", number),
            top_p=self._take("top_p", number),
            seed=self._take("seed", integer),
            frequency_penalty=self._take("frequency_penalty", number),
            presence_penalty=self._take("presence_penalty", number),
            logit_bias=self._raw("logit_bias"),
            logprobs=self._take("logprobs", flag),
            top_logprobs=-1 if top_logprobs is None else top_logprobs,
            n=1 if n is None else n,
            verbosity=self._take("verbosity", string) or "",
        )

    def _want_usage(self) -> bool:
        value = self.told.pop("stream_options", None)
        if value is None:
            return False
        inner = members(value, "stream_options")
        wanted = flag(inner.pop("include_usage", b"false"), "stream_options.include_usage")
        for name, other in inner.items():
            self.told["stream_options." + name] = other
        return wanted

    def _state(self) -> State | None:
        store = self._take("store", flag)
        return None if store is None else State(store=store)

    def _tier(self) -> str:
        word = self._take("service_tier", string) or ""
        return "standard" if word == "default" else word

    def _cache(self) -> CacheMark | None:
        value = self.told.get("prompt_cache_options", b"")
        if not is_object(value):
            return None
        inner = members(value)
        if inner.get("mode") != b'"implicit"' or inner.keys() - {"mode", "ttl"}:
            return None
        del self.told["prompt_cache_options"]
        return CacheMark(seconds_of(inner.get("ttl")))

    def _thinking(self) -> Thinking | None:
        effort = self._take("reasoning_effort", string)
        if not effort:
            return None
        if effort == "none":
            return Thinking(mode="off")
        return Thinking(effort=effort)

    def _output(self) -> Output | None:
        told = self.told
        modalities = tuple(strings(told.pop("modalities"), "modalities")) if "modalities" in told else ()
        audio = self._raw("audio")
        kind = ""
        inner: dict[str, Raw] = {}
        if "response_format" in told:
            outer = members(told["response_format"], "response_format")
            kind = string(outer.get("type", b""), "response_format.type")
            if kind == "json_schema":
                inner = members(outer.get("json_schema", b""), "response_format.json_schema")
            if kind in ("text", "json_object", "json_schema"):
                del told["response_format"]
            if kind == "text":
                self.said.append("response_format")
        if kind == "json_schema":
            return Output(
                kind="schema",
                name=string(inner.get("name", b'""'), "response_format.json_schema.name"),
                schema=inner.get("schema", b"{}"),
                strict=optional_flag(inner.get("strict")),
                description=optional_text(inner.get("description")),
                modalities=modalities,
                audio=audio,
            )
        if kind == "json_object":
            return Output(kind="json", modalities=modalities, audio=audio)
        if kind == "text" or modalities or audio:
            return Output(modalities=modalities, audio=audio)
        return None

    def _tools(self) -> tuple[Tool, ...]:
        told = self.told
        if "functions" in told:  # before there were tools
            self.said.append("functions")
            return tuple([_function_tool(members(raw, "functions"), {}, "functions")
                          for raw in items(told.pop("functions"), "functions")])  # fmt: skip
        value = told.pop("tools", None)
        if value is None:
            return ()
        return tuple([_read_tool(raw, f"tools[{at}]") for at, raw in enumerate(items(value, "tools"))])

    def _tool_choice(self) -> ToolChoice:
        value = self.told.pop("tool_choice", None)
        if value is None:
            value = self.told.pop("function_call", None)
            if value == b'"auto"':
                self.said.append("function_call")
            if value is not None and is_object(value):
                return ToolChoice("one", (string(members(value).get("name", b""), "function_call.name"),))
            return ToolChoice("none") if value == b'"none"' else ToolChoice()
        if is_string(value):
            word = string(value)
            if word == "auto":
                self.said.append("tool_choice")
                return ToolChoice()
            if word == "none":
                return ToolChoice("none")
            if word in ("required", "any"):
                return ToolChoice("required")
            raise WrongShape("tool_choice", "auto, none, required or an object")
        told = members(value, "tool_choice")
        kind = string(told.get("type", b""), "tool_choice.type")
        if kind in ("function", "custom"):
            inner = members(told.get(kind, b""), f"tool_choice.{kind}")
            return ToolChoice("one", (string(inner.get("name", b""), f"tool_choice.{kind}.name"),))
        if kind == "allowed_tools":
            inner = members(told.get("allowed_tools", b""), "tool_choice.allowed_tools")
            names = []
            for raw in items(inner.get("tools", b""), "tool_choice.allowed_tools.tools"):
                one = members(raw, "tool_choice.allowed_tools.tools")
                deep = members(one.get("function", one.get("custom", b"{}")), "tool_choice.allowed_tools.tools")
                names.append(string(deep.get("name", b""), "tool_choice.allowed_tools.tools.name"))
            return ToolChoice("subset", tuple(names), inner.get("mode") == b'"required"')
        self.told["tool_choice"] = value
        return ToolChoice()


def _read_tool(raw: Raw, path: str) -> Tool:
    told = members(raw, path)
    kind = string(told.pop("type", b""), path + ".type")
    if kind == "function":
        return _function_tool(members(told.pop("function", b""), path + ".function"), told, path)
    if kind == "custom":
        inner = members(told.get("custom", b""), path + ".custom")
        name = string(inner.get("name", b""), path + ".custom.name")
        return Tool(name=name, description=optional_text(inner.get("description")), kind="custom", dialect=CHAT,
                    value=raw)  # fmt: skip
    return Tool(name=kind, kind="server", dialect=CHAT, value=raw)


def _function_tool(inner: dict[str, Raw], outer: dict[str, Raw], path: str) -> Tool:
    name = string(inner.pop("name", b""), path + ".function.name")
    description = inner.pop("description", NULL)
    schema = inner.pop("parameters", b"")
    strict = inner.pop("strict", NULL)
    rest = [("function." + member, value) for member, value in inner.items()]
    rest += outer.items()
    return Tool(
        name=name,
        description="" if description == NULL else string(description, path + ".function.description"),
        schema=b"" if schema == NULL else schema,
        strict=optional_flag(strict),
        extra=Extra(CHAT, tuple(rest)) if rest else None,
    )


def optional_flag(raw: Raw | None) -> bool | None:
    """None for what is missing or null."""
    return None if raw is None or raw == NULL else flag(raw)


def optional_text(raw: Raw | None) -> str:
    """ "" for what is missing or null."""
    return "" if raw is None or raw == NULL else string(raw)
