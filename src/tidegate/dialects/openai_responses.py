"""Responses: ``POST /v1/responses``, as OpenAI and some others speak it (LLM 5)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from tidegate.exchange.chat import ChatAnswer, ChatRequest, Message, Text, Tool, ToolChoice, Usage
from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options
from tidegate.rules.chat_prefill import is_prefilled
from tidegate.rules.error_object import error_body, read_error
from tidegate.rules.losses import put_extras, state_wishes
from tidegate.rules.response_answer import (
    event_usage,
    finish,
    output_items,
    own_id,
    read_response,
    response_object,
    response_usage,
    schema_format,
)  # fmt: skip
from tidegate.rules.response_event_reader import ResponseEventReader
from tidegate.rules.response_event_writer import ResponseEventWriter
from tidegate.rules.thinking_budget import effort_of
from tidegate.rules.tool_ids import fit_id
from tidegate.rules.tool_names import name_aliases
from tidegate.wire.chat_parts import mark_of, own_members, spelling
from tidegate.wire.chat_tap import spliced
from tidegate.wire.json_object import WrongShape, encode, raw_of
from tidegate.wire.response_item_writer import ItemWriter, Manner
from tidegate.wire.response_items import OWNER, RESPONSES
from tidegate.wire.response_request import LOGPROBS, SEALED, read_response_request

ID_LIMIT: Final = 64
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class OpenaiResponses:
    """The dialect. Has no state."""

    name = RESPONSES
    framing: Framing = "sse"
    model_in_path = False
    surface = "chat"

    def path(self, door: str, model: str, stream: bool) -> str:
        return door.replace("{model}", quote(model, safe=""))

    # -- as the client speaks it ---------------------------------------------------------------------------------------

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return read_response_request(body)
        except WrongShape as wrong:
            raise Fault("invalid_request", str(wrong), side=CLIENT, extra={"param": wrong.path or None}) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        losses: list[str] = []
        own = own_members(answer.extra, RESPONSES)
        id = answer.id if own and answer.id else own_id("resp", answer.id or f"{now}:{answer.model}")
        body = response_object(asked, id, answer.created or now, answer.model, own)
        if len(answer.choices) > 1:
            losses.append("n")
        first = answer.choices[0] if answer.choices else None
        if first is not None and first.stop == "broken":
            return self.write_fault(Fault("bad_upstream", "The model broke off.", side=UPSTREAM), "")
        output = output_items(first.parts, id, losses) if first is not None else []
        if first is not None and first.logprobs:
            losses.append("logprobs")
        if first is not None and first.stop == "pause":
            losses.append("pause")
        finish(body, output, first.stop if first is not None else "stop", answer.usage, answer.tier)
        if answer.extra is not None and answer.extra.dialect != RESPONSES:
            losses += [name for name, value in answer.extra.members if value]
        return Written(encode(body), tuple(losses))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return ResponseEventWriter(asked, id if id.startswith("resp_") else "resp_" + id, now)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        return Written(error_body(fault), status=fault.status)

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _Writer(request, voice).outgoing()

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            return read_response(body, voice.vendor or OWNER, voice.usage, aliases)
        except WrongShape as wrong:
            raise Fault("bad_upstream", f"The answer is no response: {wrong}", reason="bad_answer",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return ResponseEventReader(voice.vendor or OWNER, voice.usage, aliases)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        return read_error(status, fields, body, now)

    # -- passing bytes through -----------------------------------------------------------------------------------------

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model, False)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        return response_usage(body, voice.usage)

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        if event.endswith(".delta"):
            return None, True, False
        if event in _LAST:
            return event_usage(data, voice.usage), False, True
        if event:
            return None, False, event == "error"
        head = data[:80]  # a vendor that names no events: the type stands first
        if b'.delta"' in head:
            return None, True, False
        if b"response.completed" in head or b"response.incomplete" in head or b"response.failed" in head:
            return event_usage(data, voice.usage), False, True
        return None, False, False


class _Writer:
    """Builds the body member by member; what the target cannot say goes to ``losses``."""

    def __init__(self, request: ChatRequest, voice: Voice) -> None:
        self.request = request
        self.voice = voice
        self.losses: list[str] = []
        self.body: dict[str, Any] = {}
        self.own = own_members(request.extra, RESPONSES)
        self.native = request.extra is not None and request.extra.dialect == RESPONSES
        self.said = {name for name, value in self.own.items() if not value}
        self.aliases = name_aliases([tool.name for tool in request.tools if tool.kind == "function"])

    def outgoing(self) -> Outgoing:
        request, body = self.request, self.body
        body["model"] = self.voice.model or request.model
        self._input()
        if is_prefilled(request, RESPONSES):
            self.losses.append("prefill")
        self._tools()
        self._sampling()
        self._text()
        self._thinking()
        self._state()
        if request.stream or "stream" in self.said:
            body["stream"] = request.stream
        self._extra()
        self.losses += merge_options(body, request.options, self.voice.addressed)
        back = {alias: name for name, alias in self.aliases.items()}
        return Outgoing(encode(body), tuple(dict.fromkeys(self.losses)), aliases=back)

    def _put(self, feature: str, name: str, value: Any, asked: bool) -> None:
        if asked:
            if feature in self.voice.lacks:
                self.losses.append(feature)
            else:
                self.body[self.voice.rename.get(name, name)] = value

    def _input(self) -> None:
        request, voice = self.request, self.voice
        messages = request.messages
        first = 0
        if messages and _is_instructions(messages, self.native):
            self.body["instructions"] = "".join([part.text for part in messages[0].parts if isinstance(part, Text)])
            first = 1
        rest = messages[first:]
        if "input" in self.said and len(rest) == 1 and len(rest[0].parts) == 1 and isinstance(rest[0].parts[0], Text):
            self.body["input"] = rest[0].parts[0].text
            return
        manner = Manner(voice.vendor or OWNER, voice.lacks, self.aliases, _fit, own_id)
        numbered = list(enumerate(messages))[first:]
        written = ItemWriter(manner, self.losses).items(numbered)
        if written or not self.native or "input" in self.said:
            self.body["input"] = written

    def _tools(self) -> None:
        request = self.request
        if request.tools and "tools" in self.voice.lacks:
            self.losses.append("tools")
            return
        written: list[Any] = []
        for at, tool in enumerate(request.tools):
            if tool.kind == "function":
                written.append(self._tool(tool, f"tools[{at}]"))
            elif tool.dialect == RESPONSES:
                written.append(raw_of(tool.value))
            else:
                self.losses.append(f"tools[{at}]")
        if not written:
            return
        self.body["tools"] = written
        choice = self._choice(request.tool_choice)
        if choice is not None:
            self._put("tool_choice", "tool_choice", choice, True)
        if request.parallel_tools is not None:
            self._put("parallel_tools", "parallel_tool_calls", request.parallel_tools, True)

    def _tool(self, tool: Tool, where: str) -> dict[str, Any]:
        body: dict[str, Any] = {"type": "function", "name": self.aliases.get(tool.name, tool.name)}
        if tool.description:
            body["description"] = tool.description
        if tool.schema or not self.native:
            body["parameters"] = raw_of(tool.schema or b'{"type":"object","properties":{}}')
        if tool.strict is not None:
            body["strict"] = tool.strict
        elif not self.native:
            body["strict"] = False  # here a schema is strict unless one says otherwise
        own = own_members(tool.extra, RESPONSES)
        for name, value in own.items():
            body.setdefault(name, raw_of(value))
        if tool.extra is not None and not own:
            self.losses += [f"{where}.{name}" for name, value in tool.extra.members if value]
        return body

    def _choice(self, choice: ToolChoice) -> Any:
        if choice.mode == "auto":
            return "auto" if "tool_choice" in self.said else None
        if choice.mode in ("none", "required"):
            return self.voice.rename.get(choice.mode, choice.mode)
        names = [self.aliases.get(name, name) for name in choice.names]
        if choice.mode == "one":
            custom = any(tool.name == choice.names[0] and tool.kind == "custom" for tool in self.request.tools)
            return {"type": "custom" if custom else "function", "name": names[0]}
        return {
            "type": "allowed_tools",
            "mode": "required" if choice.required else "auto",
            "tools": [{"type": "function", "name": name} for name in names],
        }

    def _sampling(self) -> None:
        request, put = self.request, self._put
        sampling = request.sampling
        put("max_output", "max_output_tokens", request.max_output, request.max_output is not None)
        put("temperature", "temperature", sampling.temperature, sampling.temperature is not None)
        put("top_p", "top_p", sampling.top_p, sampling.top_p is not None)
        put("logprobs", "top_logprobs", sampling.top_logprobs, sampling.top_logprobs >= 0)
        for name, asked in (
            ("top_k", sampling.top_k is not None),
            ("stop", bool(request.stop)),
            ("seed", sampling.seed is not None),
            ("frequency_penalty", sampling.frequency_penalty is not None),
            ("presence_penalty", sampling.presence_penalty is not None),
            ("n", sampling.n != 1),
            ("logit_bias", bool(sampling.logit_bias)),
            ("prediction", bool(request.prediction)),
        ):
            if asked:
                self.losses.append(name)
        put("metadata", "metadata", raw_of(request.metadata), bool(request.metadata))
        put("user", "user" if "user" in self.said else "safety_identifier", request.user, bool(request.user))
        tier = "default" if request.tier == "standard" else request.tier
        if tier and tier not in _TIERS:
            self.losses.append("tier")
        else:
            put("tier", "service_tier", tier, bool(tier))

    def _text(self) -> None:
        output = self.request.output
        text: dict[str, Any] = {}
        if output is not None:
            if output.modalities or output.audio:
                self.losses.append("output.audio")
            if output.kind == "schema" and "output.schema" in self.voice.lacks:
                self.losses.append("output.schema")
            elif output.kind == "schema":
                text["format"] = schema_format(self.request)
            elif output.kind == "json":
                text["format"] = {"type": "json_object"}
            elif "text.format" in self.said:
                text["format"] = {"type": "text"}
        if self.request.sampling.verbosity:
            if "verbosity" in self.voice.lacks:
                self.losses.append("verbosity")
            else:
                text["verbosity"] = self.request.sampling.verbosity
        for name, value in self.own.items():
            if name.startswith("text.") and value:
                text[name[5:]] = raw_of(value)
        if text:
            self.body["text"] = text

    def _thinking(self) -> None:
        thinking = self.request.thinking
        if thinking is None:
            return
        if "thinking" in self.voice.lacks:
            self.losses.append("thinking")
            return
        body: dict[str, Any] = {}
        word = thinking.effort
        if not word and thinking.budget > 0:
            word = effort_of(thinking.budget)
        if thinking.budget:
            self.losses.append("thinking.budget")
        if thinking.mode == "off":
            word = "none"
        if thinking.mode == "adaptive":
            self.losses.append("thinking.adaptive")
        if word:
            body["effort"] = word
        if thinking.show in ("summary", "full"):
            body["summary"] = "auto"
        if thinking.show == "full":
            self.losses.append("thinking.show")
        for name, value in own_members(thinking.extra, RESPONSES).items():
            body[name] = raw_of(value)
        if thinking.extra is not None and thinking.extra.dialect != RESPONSES:
            self.losses += ["thinking." + name for name, _ in thinking.extra.members]
        if body or self.native:
            self.body["reasoning"] = body
        else:
            self.losses.append("thinking")

    def _state(self) -> None:
        """A conversation from elsewhere is kept by whoever sent it: nothing is stored here, and what was thought comes
        sealed so that it can be sent again."""
        request, body = self.request, self.body
        state = request.state
        if not self.native:
            if "state" not in self.voice.lacks:
                body["store"] = False
                include = [SEALED] if "thinking" not in self.voice.lacks else []
                if request.sampling.logprobs:
                    include.append(LOGPROBS)
                if include:
                    body["include"] = include
            self.losses += state_wishes(state)
        elif state is not None:
            if state.previous_id:
                body["previous_response_id"] = state.previous_id
            if state.conversation:
                body["conversation"] = {"id": state.conversation} if "conversation" in self.said else state.conversation
            if state.store is not None:
                body["store"] = state.store
            if state.truncation:
                body["truncation"] = state.truncation
            if state.background:
                body["background"] = True
        said = spelling(request.extra, "include", RESPONSES)
        if said:
            body["include"] = said.split(",")
        if "background" in self.said:
            body.setdefault("background", False)
        if "cache" not in self.voice.lacks:
            if request.cache is not None:
                body["prompt_cache_options"] = mark_of(request.cache, False, self.losses) | {"mode": "implicit"}
            if request.cache_key:
                body["prompt_cache_key"] = request.cache_key

    def _extra(self) -> None:
        extra = self.request.extra
        if extra is None:
            return
        if extra.dialect == RESPONSES:
            for name, value in extra.members:
                if value and not name.startswith("text."):
                    self.body.setdefault(self.voice.rename.get(name, name), raw_of(value))
            for name in self.request.cleared:
                self.body.setdefault(name, None)
            return
        self.losses += put_extras(self.body, extra, RESPONSES, self.voice.accepts)


def _fit(id: str) -> str:
    return id if len(id) <= ID_LIMIT else fit_id(id, ID_LIMIT)


def _is_instructions(messages: tuple[Message, ...], native: bool) -> bool:
    """The first turn stood in ``instructions``, or comes from elsewhere and may stand there."""
    first = messages[0]
    if native:
        return own_members(first.extra, RESPONSES).keys() == {"instructions"}
    plain = first.role == "system" and all(type(part) is Text and part.cache is None for part in first.parts)
    return plain and bool(first.parts) and not first.name
