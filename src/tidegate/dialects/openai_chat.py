"""Chat completions: ``POST /v1/chat/completions``, as OpenAI and some hundred vendors speak it (LLM 5)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Tool,
    ToolChoice,
    Usage,
)
from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options
from tidegate.rules.chat_answer import answer_usage, choice_object, read_chat_answer
from tidegate.rules.chat_event_reader import ChatEventReader
from tidegate.rules.chat_event_writer import ChatEventWriter
from tidegate.rules.chat_prefill import is_prefilled
from tidegate.rules.error_object import error_body, read_error
from tidegate.rules.losses import put_extras, state_wishes
from tidegate.rules.thinking_budget import effort_of
from tidegate.rules.tool_ids import LETTERS_AND_DIGITS, fit_id
from tidegate.rules.tool_names import name_aliases
from tidegate.wire.chat_message_writer import Manner, MessageWriter
from tidegate.wire.chat_parts import BREAKPOINT, CHAT, mark_of, own_members
from tidegate.wire.chat_request import read_chat_request
from tidegate.wire.chat_tap import event_usage, spliced
from tidegate.wire.json_object import (
    WrongShape,
    encode,
    raw_of,
)
from tidegate.wire.token_usage import chat_usage

ID_LIMIT: Final = 40
"""Characters of a tool call's id."""
MOST_STOPS: Final = 4
_TIERS: Final = frozenset({"auto", "flex", "scale", "priority", "fast"})


class OpenaiChat:
    """The dialect. Has no state."""

    name = CHAT
    framing: Framing = "sse"
    model_in_path = False
    surface = "chat"

    def path(self, door: str, model: str, stream: bool) -> str:
        return door.replace("{model}", quote(model, safe=""))

    # -- as the client speaks it ---------------------------------------------------------------------------------------

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return read_chat_request(body)
        except WrongShape as wrong:
            raise Fault("invalid_request", str(wrong), side=CLIENT, extra={"param": wrong.path or None}) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        losses: list[str] = []
        legacy = "functions" in own_members(asked.extra)
        own = own_members(answer.extra)
        choices = []
        for choice in answer.choices:
            if choice.stop == "broken":
                return self.write_fault(Fault("bad_upstream", "The model broke off.", side=UPSTREAM), "")
            choices.append(choice_object(choice, legacy, losses))
        body: dict[str, Any] = {
            "id": answer.id if own or answer.id.startswith("chatcmpl") else derived_id(answer.id, now),
            "object": "chat.completion",
            "created": answer.created or now,
            "model": answer.model or asked.model,
            "choices": choices,
        }
        if answer.usage is not None:
            body["usage"] = chat_usage(answer.usage)
        tier = answer.tier or (answer.usage.tier if answer.usage is not None else "")
        if tier:
            body["service_tier"] = _tier_word(tier)
        for name, value in own.items():
            body.setdefault(name, raw_of(value))
        if answer.extra is not None and answer.extra.dialect != CHAT:
            losses += [name for name, value in answer.extra.members if value]
        return Written(encode(body), tuple(losses))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        id = id if id.startswith("chatcmpl") else "chatcmpl-" + id
        return ChatEventWriter(id, now, asked.model, asked.want_usage, "functions" in own_members(asked.extra))

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        return Written(error_body(fault), status=fault.status)

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _RequestWriter(request, voice).outgoing()

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            return read_chat_answer(body, vendor_of(voice), voice.usage, aliases)
        except WrongShape as wrong:
            raise Fault("bad_upstream", f"The answer is no chat completion: {wrong}", reason="bad_answer",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return ChatEventReader(vendor_of(voice), voice.usage, aliases)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        return read_error(status, fields, body, now)

    # -- passing bytes through -----------------------------------------------------------------------------------------

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model, ask_usage)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        return answer_usage(body, voice.usage)

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        return event_usage(event, data, voice.usage)


def vendor_of(voice: Voice) -> str:
    return voice.vendor or "openai"


def derived_id(id: str, now: int) -> str:
    """An id of our own shape, made of a foreign one."""
    return "chatcmpl-" + blake2b(f"{id}:{now if not id else 0}".encode(), digest_size=15).hexdigest()


def _tier_word(tier: str) -> str:
    return "default" if tier == "standard" else tier


# -- a request, written ------------------------------------------------------------------------------------------------


class _RequestWriter:
    """Builds the body member by member; what the target lacks goes to ``losses``."""

    def __init__(self, request: ChatRequest, voice: Voice) -> None:
        self.request = request
        self.voice = voice
        self.losses: list[str] = []
        self.body: dict[str, Any] = {}
        self.own = own_members(request.extra)
        self.said = {name for name, value in self.own.items() if not value}
        names = [tool.name for tool in request.tools if tool.kind == "function"]
        self.aliases = name_aliases(names)

    def outgoing(self) -> Outgoing:
        request, body = self.request, self.body
        body["model"] = self.voice.model or request.model
        body["messages"] = self._messages()
        if is_prefilled(request, CHAT):
            self.losses.append("prefill")
        self._tools()
        self._scalars()
        self._output()
        self._thinking()
        self._state()
        if request.stream:
            body["stream"] = True
            inner = {name[15:]: raw_of(value) for name, value in self.own.items() if name.startswith("stream_options.")}
            if self.voice.usage_chunk == "ask":
                body["stream_options"] = {"include_usage": True, **inner}
            elif inner and self.voice.usage_chunk == "always":
                body["stream_options"] = inner
        elif "stream" in self.said:
            body["stream"] = False
        self._extra()
        self.losses += merge_options(body, request.options, self.voice.addressed)
        back = {alias: name for name, alias in self.aliases.items()}
        return Outgoing(encode(body), tuple(dict.fromkeys(self.losses)), aliases=back)

    def _put(self, feature: str, name: str, value: Any, asked: bool) -> None:
        """*value* as member *name*, in the vendor's spelling, unless it lacks *feature*."""
        if asked:
            if feature in self.voice.lacks:
                self.losses.append(feature)
            else:
                self.body[self.voice.rename.get(name, name)] = value

    def _messages(self) -> list[Any]:
        voice = self.voice
        effort = voice.thinking
        size = voice.id_size

        def fit(id: str) -> str:
            return fit_id(id, size, LETTERS_AND_DIGITS) if size else _fit(id)

        manner = Manner(
            vendor=vendor_of(voice),
            lacks=voice.lacks,
            rename=voice.rename,
            thoughts=effort.text if effort is not None and "thinking" not in voice.lacks else "",
            replay=effort.replay if effort is not None else "never",
            mark=voice.rename.get(BREAKPOINT, BREAKPOINT),
            aliases=self.aliases,
            fit=fit,
        )
        marks = 0
        for message in self.request.messages:
            for part in message.parts:
                if part.cache is not None:
                    marks += 1
        return MessageWriter(manner, self.losses, marks).messages(self.request.messages)

    def _scalars(self) -> None:
        request, said = self.request, self.said
        sampling = request.sampling
        put = self._put
        limit = "max_tokens" if "max_tokens" in said else "max_completion_tokens"
        put("max_output", limit, request.max_output, request.max_output is not None)
        put("temperature", "temperature", sampling.temperature, sampling.temperature is not None)
        put("top_p", "top_p", sampling.top_p, sampling.top_p is not None)
        if sampling.top_k is not None:
            if "top_k" in self.voice.accepts:
                self.body["top_k"] = sampling.top_k
            else:
                self.losses.append("top_k")
        put("seed", "seed", sampling.seed, sampling.seed is not None)
        put("penalties", "frequency_penalty", sampling.frequency_penalty, sampling.frequency_penalty is not None)
        put("penalties", "presence_penalty", sampling.presence_penalty, sampling.presence_penalty is not None)
        put("logit_bias", "logit_bias", raw_of(sampling.logit_bias), bool(sampling.logit_bias))
        put("logprobs", "logprobs", sampling.logprobs, sampling.logprobs is not None)
        put("logprobs", "top_logprobs", sampling.top_logprobs, sampling.top_logprobs >= 0)
        put("n", "n", sampling.n, sampling.n != 1)
        if "n" in said and sampling.n == 1:
            self.body["n"] = 1
        put("verbosity", "verbosity", sampling.verbosity, bool(sampling.verbosity))
        stop: Any = list(request.stop[:MOST_STOPS])
        if len(request.stop) > MOST_STOPS:
            self.losses.append("stop")
        if "stop" in said and len(stop) == 1:
            stop = stop[0]
        put("stop", "stop", stop, bool(stop))
        put("user", "user" if "user" in said else "safety_identifier", request.user, bool(request.user))
        put("metadata", "metadata", raw_of(request.metadata), bool(request.metadata))
        put("prediction", "prediction", raw_of(request.prediction), bool(request.prediction))
        tier = _tier_word(request.tier)
        if tier and tier != "default" and tier not in _TIERS:
            self.losses.append("tier")
        else:
            put("tier", "service_tier", tier, bool(tier))

    def _tools(self) -> None:
        request, voice = self.request, self.voice
        if "functions" in self.said:
            self._functions()
            return
        if request.tools and "tools" in voice.lacks:
            self.losses.append("tools")
            return
        written = []
        for at, tool in enumerate(request.tools):
            one = self._tool(tool, f"tools[{at}]")
            if one is not None:
                written.append(one)
        if not written:
            return
        self.body["tools"] = written
        self._choice(request.tool_choice)
        if request.parallel_tools is not None:
            self._put("parallel_tools", "parallel_tool_calls", request.parallel_tools, True)

    def _functions(self) -> None:
        """Tools as clients said them before there were tools."""
        choice = self.request.tool_choice
        self.body["functions"] = [self._tool(tool, "functions")["function"] for tool in self.request.tools]
        if choice.mode == "one":
            self.body["function_call"] = {"name": self.aliases.get(choice.names[0], choice.names[0])}
        elif choice.mode == "none" or "function_call" in self.said:
            self.body["function_call"] = choice.mode

    def _tool(self, tool: Tool, where: str) -> Any:
        if tool.kind != "function":
            if tool.dialect == CHAT and "custom_tools" not in self.voice.lacks:
                return raw_of(tool.value)
            self.losses.append(where)
            return None
        inner: dict[str, Any] = {"name": self.aliases.get(tool.name, tool.name)}
        if tool.description:
            inner["description"] = tool.description
        if tool.schema:
            inner["parameters"] = raw_of(tool.schema)
        if tool.strict is not None:
            if "strict" in self.voice.lacks:
                self.losses.append(where + ".strict")
            else:
                inner["strict"] = tool.strict
        body: dict[str, Any] = {"type": "function", "function": inner}
        if tool.extra is not None:
            for name, value in tool.extra.members:
                if tool.extra.dialect != CHAT:
                    self.losses.append(f"{where}.{name}")
                elif name.startswith("function."):
                    inner[name[9:]] = raw_of(value)
                else:
                    body[name] = raw_of(value)
        return body

    def _choice(self, choice: ToolChoice) -> None:
        if choice.mode == "auto":
            if "tool_choice" in self.said:
                self.body["tool_choice"] = "auto"
            return
        if "tool_choice" in self.voice.lacks:
            self.losses.append("tool_choice")
        elif choice.mode == "none":
            self.body["tool_choice"] = "none"
        elif choice.mode == "required":
            self.body["tool_choice"] = self.voice.rename.get("required", "required")
        elif choice.mode == "one":
            self.body["tool_choice"] = self._named(choice.names[0])
        else:
            self._subset(choice)

    def _subset(self, choice: ToolChoice) -> None:
        """Where the vendor knows no ``allowed_tools``, the others are left out."""
        if "allowed_tools" not in self.voice.lacks:
            inner = {"mode": "required" if choice.required else "auto",
                     "tools": [self._named(name) for name in choice.names]}  # fmt: skip
            self.body["tool_choice"] = {"type": "allowed_tools", "allowed_tools": inner}
            return
        kept = [tool for tool in self.request.tools if tool.name in choice.names]
        self.body["tools"] = [self._tool(tool, "tools") for tool in kept]
        if choice.required:
            self.body["tool_choice"] = self.voice.rename.get("required", "required")

    def _named(self, name: str) -> dict[str, Any]:
        for tool in self.request.tools:
            if tool.name == name and tool.kind == "custom":
                return {"type": "custom", "custom": {"name": name}}
        return {"type": "function", "function": {"name": self.aliases.get(name, name)}}

    def _output(self) -> None:
        output = self.request.output
        if output is None:
            return
        if output.kind == "schema" and "output.schema" in self.voice.lacks:
            self.losses.append("output.schema")
            self._put("output.json", "response_format", {"type": "json_object"}, True)
        elif output.kind == "schema":
            inner: dict[str, Any] = {"name": output.name or "answer", "schema": raw_of(output.schema or b"{}")}
            if output.strict is not None:
                inner["strict"] = output.strict
            if output.description:
                inner["description"] = output.description
            self.body["response_format"] = {"type": "json_schema", "json_schema": inner}
        elif output.kind == "json":
            self._put("output.json", "response_format", {"type": "json_object"}, True)
        elif "response_format" in self.said:
            self.body["response_format"] = {"type": "text"}
        self._put("output.audio", "modalities", output.modalities, bool(output.modalities))
        self._put("output.audio", "audio", raw_of(output.audio), bool(output.audio))

    def _thinking(self) -> None:
        thinking, voice = self.request.thinking, self.voice
        if thinking is None:
            return
        if "thinking" in voice.lacks:
            self.losses.append("thinking")
            return
        effort = voice.thinking
        ask = effort.ask if effort is not None else "reasoning_effort"
        toggle = effort.toggle if effort is not None else ""
        word = thinking.effort
        if not word and thinking.budget > 0:
            word = effort_of(thinking.budget)
        if thinking.budget:
            self.losses.append("thinking.budget")
        if thinking.show in ("summary", "full") and effort is None:  # OpenAI's own models keep theirs
            self.losses.append("thinking.show")
        if toggle:
            head, _, member = toggle.partition(".")
            state = "disabled" if thinking.mode == "off" else "enabled"
            self.body[head] = {member: state} if member else state
        if thinking.mode == "off":
            word = "" if toggle else "none"
        if word and ask:
            self.body[ask] = word
        elif not toggle and thinking.mode != "adaptive":
            self.losses.append("thinking")
        if thinking.mode == "adaptive":
            self.losses.append("thinking.adaptive")
        if thinking.extra is not None:
            self.losses += ["thinking." + name for name, _ in thinking.extra.members]

    def _state(self) -> None:
        request, voice = self.request, self.voice
        state = request.state
        native = request.extra is not None and request.extra.dialect == CHAT
        if state is not None:
            lost = state_wishes(state)
            if state.store is not None and native and "state" not in voice.lacks:
                self.body["store"] = state.store
                lost = [name for name in lost if name != "store"]
            self.losses += lost
        if "cache" not in voice.lacks:
            if request.cache is not None and BREAKPOINT not in voice.rename:
                mark = mark_of(request.cache, False, self.losses)
                self.body["prompt_cache_options"] = mark | {"mode": "implicit"}
            if request.cache_key:
                self.body["prompt_cache_key"] = request.cache_key

    def _extra(self) -> None:
        extra = self.request.extra
        if extra is None:
            return
        if extra.dialect == CHAT:
            for name, value in extra.members:
                if value and not name.startswith("stream_options."):
                    self.body.setdefault(self.voice.rename.get(name, name), raw_of(value))
            for name in self.request.cleared:
                self.body.setdefault(name, None)
            return
        self.losses += put_extras(self.body, extra, CHAT, self.voice.accepts)


def _fit(id: str) -> str:
    return id if len(id) <= ID_LIMIT else fit_id(id, ID_LIMIT)
