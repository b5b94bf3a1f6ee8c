"""The body of a Responses call, read into the neutral request (LLM 5.1, 5.4-5.7).

As in ``wire/chat_request``: a member with an empty value in ``extra`` was said in its short or default form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from tidegate.exchange.chat import (
    CacheMark,
    ChatRequest,
    Extra,
    Message,
    Output,
    Raw,
    Sampling,
    State,
    Text,
    Thinking,
    Tool,
    ToolChoice,
)  # fmt: skip
from tidegate.wire.chat_parts import seconds_of
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
)  # fmt: skip
from tidegate.wire.response_item_writer import INSTRUCTIONS
from tidegate.wire.response_items import RESPONSES, optional, read_input

LOGPROBS: Final = "message.output_text.logprobs"
SEALED: Final = "reasoning.encrypted_content"
SAID: Final = b""


def read_response_request(body: bytes) -> ChatRequest:
    """The request; raises ``WrongShape``."""
    return _Reader(members(body)).request()


class _Reader:
    """Takes members out of the body until only unknown ones are left."""

    def __init__(self, told: dict[str, Raw]) -> None:
        self.cleared = tuple([name for name, value in told.items() if value == NULL])
        for name in self.cleared:
            del told[name]
        self.told = told
        self.said: list[str] = []
        value = told.pop("text", b"{}")
        self.text = members(value, "text")

    def request(self) -> ChatRequest:
        told = self.told
        stream = self._take("stream", flag)
        if stream is False:
            self.said.append("stream")
        request = ChatRequest(
            model=string(told.pop("model", b'""'), "model"),
            messages=self._messages(),
            tools=self._tools(),
            tool_choice=self._tool_choice(),
            parallel_tools=self._take("parallel_tool_calls", flag),
            sampling=self._sampling(),
            output=self._output(),
            thinking=self._thinking(),
            max_output=self._take("max_output_tokens", integer),
            stream=bool(stream),
            want_usage=True,
            state=self._state(),
            tier=self._tier(),
            user=self._user(),
            metadata=_object(told, "metadata"),
            cache=self._cache(),
            cache_key=self._take("prompt_cache_key", string) or "",
            options=objects(told.pop("provider_options", b"{}"), "provider_options"),
            cleared=self.cleared,
        )
        extra = [(name, SAID) for name in self.said]
        extra += told.items()
        return replace(request, extra=Extra(RESPONSES, tuple(extra)))

    def _take(self, name: str, read: Callable[[Raw, str], Any]) -> Any:
        value = self.told.pop(name, None)
        return None if value is None else read(value, name)

    def _messages(self) -> tuple[Message, ...]:
        found: tuple[Message, ...] = ()
        instructions = self.told.get("instructions", b"")
        if is_string(instructions):
            del self.told["instructions"]
            text = string(instructions)
            found = (Message(role="system", parts=(Text(text=text),), extra=INSTRUCTIONS),)
        value = self.told.pop("input", None)
        if value is None:
            return found
        if is_string(value):
            self.said.append("input")
            return (*found, Message(role="user", parts=(Text(text=string(value)),), extra=Extra(RESPONSES)))
        return found + read_input(value)

    def _sampling(self) -> Sampling:
        include = self.told.get("include", b"")
        top = self._take("top_logprobs", integer)
        verbosity = optional(self.text, "verbosity", "text")
        self.text.pop("verbosity", None)
        words = strings(include, "include") if include else []
        wanted = LOGPROBS in words
        if words and not set(words) - {LOGPROBS, SEALED}:
            del self.told["include"]
            self.said.append("include=" + ",".join(words))
        return Sampling(
            temperature=self._take("temperature", number),
            top_p=self._take("top_p", number),
            logprobs=True if wanted else None,
            top_logprobs=-1 if top is None else top,
            verbosity=verbosity,
        )

    def _output(self) -> Output | None:
        """Called after ``_sampling``, which has taken its part of ``text``."""
        found = None
        value = self.text.pop("format", b"")
        if value and value != NULL:
            told = members(value, "text.format")
            kind = optional(told, "type", "text.format")
            if kind == "json_schema":
                strict = told.get("strict", NULL)
                found = Output(
                    kind="schema",
                    name=optional(told, "name", "text.format"),
                    schema=told.get("schema", b"{}"),
                    strict=None if strict == NULL else flag(strict),
                    description=optional(told, "description", "text.format"),
                )
            elif kind == "json_object":
                found = Output(kind="json")
            elif kind == "text":
                self.said.append("text.format")
                found = Output()
            else:
                self.text["format"] = value
        for name, other in self.text.items():
            self.told["text." + name] = other
        return found

    def _thinking(self) -> Thinking | None:
        value = self.told.pop("reasoning", b"")
        if not value:
            return None
        told = members(value, "reasoning")
        effort = optional(told, "effort", "reasoning")
        summary = optional(told, "summary", "reasoning")
        told.pop("effort", None)
        if summary in ("", "auto"):
            told.pop("summary", None)
        extra = Extra(RESPONSES, tuple(told.items())) if told else None
        if effort == "none":
            return Thinking(mode="off", show="summary" if summary else "", extra=extra)
        return Thinking(effort=effort, show="summary" if summary else "", extra=extra)

    def _state(self) -> State | None:
        told = self.told
        store = self._take("store", flag)
        previous = self._take("previous_response_id", string) or ""
        truncation = self._take("truncation", string) or ""
        background = self._take("background", flag)
        if background is False:
            self.said.append("background")
        conversation = ""
        value = told.get("conversation", b"")
        if is_string(value):
            conversation = string(told.pop("conversation"))
        elif is_object(value):
            self.said.append("conversation")
            conversation = optional(members(told.pop("conversation")), "id", "conversation")
        if store is None and not (previous or truncation or background or conversation):
            return None
        return State(previous, conversation, store, bool(background), truncation)

    def _tier(self) -> str:
        word = self._take("service_tier", string) or ""
        return "standard" if word == "default" else word

    def _user(self) -> str:
        value = self._take("safety_identifier", string)
        if value is None and "user" in self.told:
            self.said.append("user")
            return string(self.told.pop("user"), "user")
        return value or ""

    def _cache(self) -> CacheMark | None:
        value = self.told.get("prompt_cache_options", b"")
        if not is_object(value):
            return None
        inner = members(value)
        if inner.get("mode") != b'"implicit"' or inner.keys() - {"mode", "ttl"}:
            return None
        del self.told["prompt_cache_options"]
        return CacheMark(seconds_of(inner.get("ttl")))

    def _tools(self) -> tuple[Tool, ...]:
        value = self.told.pop("tools", None)
        if value is None:
            return ()
        return tuple([read_tool(raw, f"tools[{at}]") for at, raw in enumerate(items(value, "tools"))])

    def _tool_choice(self) -> ToolChoice:
        value = self.told.pop("tool_choice", None)
        if value is None:
            return ToolChoice()
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
        kind = optional(told, "type", "tool_choice")
        if kind in ("function", "custom"):
            return ToolChoice("one", (string(told.get("name", b""), "tool_choice.name"),))
        if kind == "allowed_tools":
            entries = [members(raw, "tool_choice.tools") for raw in items(told.get("tools", b""), "tool_choice.tools")]
            if all(entry.get("type") == b'"function"' for entry in entries):
                names = [string(entry.get("name", b""), "tool_choice.tools.name") for entry in entries]
                return ToolChoice("subset", tuple(names), told.get("mode") == b'"required"')
        self.told["tool_choice"] = value
        return ToolChoice()


def read_tool(raw: Raw, path: str) -> Tool:
    """One tool: a function is flat here, anything else goes back as it came."""
    told = members(raw, path)
    kind = string(told.pop("type", b""), path + ".type")
    if kind != "function":
        name = optional(told, "name", path) or kind
        if kind == "custom":
            description = optional(told, "description", path)
            return Tool(name=name, description=description, kind="custom", dialect=RESPONSES, value=raw)
        return Tool(name=kind, kind="server", dialect=RESPONSES, value=raw)
    name = string(told.pop("name", b""), path + ".name")
    description = optional(told, "description", path)
    schema = told.pop("parameters", NULL)
    strict = told.pop("strict", NULL)
    told.pop("description", None)
    return Tool(
        name=name,
        description=description,
        schema=b"" if schema == NULL else schema,
        strict=None if strict == NULL else flag(strict, path + ".strict"),
        extra=Extra(RESPONSES, tuple(told.items())) if told else None,
    )


def _object(told: dict[str, bytes], name: str) -> bytes:
    """The object *name*, taken out of *told*; b"" for none."""
    value = told.pop(name, b"")
    if value and not is_object(value):
        raise WrongShape(name, "an object")
    return value
