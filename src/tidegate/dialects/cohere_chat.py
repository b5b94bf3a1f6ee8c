"""Cohere's chat, version 2 (LLM 5, column coh): ``POST /v2/chat``, read and written on either side.

Messages and events are rules of their own (``rules/cohere_messages``, ``cohere_events``); here is what stands around.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Extra,
    Output,
    Sampling,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.rules.cohere_events import CohereEventReader, CohereEventWriter, broken_stop, message_id, read_stop
from tidegate.rules.cohere_messages import (
    NAME,
    OWN,
    STOP_WORDS,
    CohereMessages,
    assistant_parts,
    extra_of,
    read_message,
    read_usage,
    usage_object,
)
from tidegate.rules.content_blocks import take_string
from tidegate.rules.error_object import error_words
from tidegate.rules.losses import Losses
from tidegate.rules.thinking_budget import budget_of
from tidegate.rules.tool_names import name_aliases
from tidegate.rules.upstream_fault import upstream_fault
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
    string,
    strings,
)
from tidegate.wire.json_splice import replaced, spans, with_member

SAYS: Final = frozenset((
    "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "logprobs", "max_output", "stop",
    "tier",
))  # fmt: skip
"""What of the shared words this dialect can say."""

_CLEARED: Final = {
    "max_tokens": "max_output", "stop_sequences": "stop", "response_format": "output", "priority": "tier",
    "provider_options": "options", "p": "top_p", "k": "top_k",
}  # fmt: skip
_TIERS: Final = {"priority": 0, "flex": 999}
"""Tier -> ``priority``: lower numbers are served first."""
_ANY_OBJECT: Final = b'{"type":"object","properties":{}}'


class _Answer(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"")


class _MessageEnd(msgspec.Struct):
    delta: _Answer = msgspec.field(default_factory=_Answer)


_answer: Final = msgspec.json.Decoder(_Answer).decode
_message_end: Final = msgspec.json.Decoder(_MessageEnd).decode


class CohereChat:
    """``POST /v2/chat`` (``ports.dialect.Dialect``)."""

    name = NAME
    framing: Framing = "sse"
    model_in_path = False
    surface = "chat"

    def path(self, door: str, model: str, stream: bool) -> str:
        return door.replace("{model}", quote(model, safe=""))

    # -- as the client speaks it ---------------------------------------------------------------------------------------

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return _read_request(members(body))
        except (WrongShape, UnicodeDecodeError) as wrong:
            detail = str(wrong) if isinstance(wrong, WrongShape) else "The body must be UTF-8."
            raise Fault("invalid_request", detail, side=CLIENT) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        choice = answer.choices[0] if answer.choices else Choice()
        if choice.stop == "broken":
            return self.write_fault(Fault("bad_upstream", reason="broken_answer", side=UPSTREAM), "")
        losses = Losses()
        if len(answer.choices) > 1:
            losses.lose("n")
        if choice.stop == "pause":
            losses.lose("pause")
        message = CohereMessages(None, {}, frozenset(), frozenset(), losses).assistant(choice.parts, "answer")
        written: dict[str, object] = {
            "id": message_id(answer.id),
            "finish_reason": STOP_WORDS[choice.stop],
            "message": message,
            "usage": usage_object(answer.usage or Usage()),
        }
        if choice.extra is not None and choice.extra.dialect == NAME:
            for name, value in choice.extra.members:
                if name.startswith("message."):
                    message[name[8:]] = raw_of(value)
                else:
                    written[name] = raw_of(value)
            if choice.logprobs:
                written["logprobs"] = raw_of(choice.logprobs)
        elif choice.logprobs:
            losses.lose("logprobs")
        losses.extras(written, answer.extra, NAME, frozenset(), "")
        return Written(encode(written), tuple(losses.told))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return CohereEventWriter(id)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        body = {"message": fault.detail or CODES[fault.code].title}
        if request_id:
            body["id"] = request_id
        return Written(encode(body), status=fault.status)

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _RequestWriter(request, voice).write()

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            return _read_answer(members(body), voice, aliases)
        except (WrongShape, UnicodeDecodeError):
            raise Fault("bad_upstream", "The provider's answer is not in its own words.", reason="protocol",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return CohereEventReader(voice.vendor or OWN, voice.model, aliases, voice.usage)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        words, message = error_words(body)
        if status == 498:  # an invalid token
            status = 401
        return upstream_fault(status, words, message, fields, now)

    # -- passing bytes through -----------------------------------------------------------------------------------------

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        span = spans(body, ("model",)).get("model")
        if span is None:
            return with_member(body, "model", encode(model))
        return replaced(body, [(span[0], span[1], encode(model))])

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        try:
            return read_usage(bytes(_answer(body).usage), voice.usage)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        if data == b"[DONE]":
            return None, False, True
        head = data[:64]
        if event == "message-end" or (not event and b'"message-end"' in head):
            try:
                return read_usage(bytes(_message_end(data).delta.usage), voice.usage), False, True
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None, False, True
        return None, b"-delta" in head, False


# -- reading a request -------------------------------------------------------------------------------------------------


def _read_request(found: dict[str, bytes]) -> ChatRequest:
    cleared = tuple([_CLEARED.get(name, name) for name, value in found.items() if value == NULL])
    for name in [name for name, value in found.items() if value == NULL]:
        del found[name]
    model = string(found.pop("model", b""), "model")
    messages = tuple([
        read_message(raw, f"messages[{at}]") for at, raw in enumerate(items(found.pop("messages", b""), "messages"))
    ])  # fmt: skip
    strict = found.pop("strict_tools", None)
    tools = tuple([
        _read_tool(raw, f"tools[{at}]", None if strict is None else flag(strict, "strict_tools"))
        for at, raw in enumerate(items(found.pop("tools", b"[]"), "tools"))
    ])  # fmt: skip
    word = take_string(found, "tool_choice", "body")
    if word not in ("", "REQUIRED", "NONE"):
        raise WrongShape("tool_choice", "REQUIRED or NONE")
    rest: dict[str, bytes] = {}
    tier = _read_tier(found)
    output = _read_output(found, rest)
    options = found.pop("provider_options", None)
    request = ChatRequest(
        model=model,
        messages=messages,
        tools=tools,
        tool_choice=ToolChoice("required") if word == "REQUIRED" else ToolChoice("none" if word else "auto"),
        output=output,
        thinking=_read_thinking(found),
        sampling=_read_sampling(found),
        max_output=integer(found.pop("max_tokens"), "max_tokens") if "max_tokens" in found else None,
        stop=tuple(strings(found.pop("stop_sequences", b"[]"), "stop_sequences")),
        stream="stream" in found and flag(found.pop("stream"), "stream"),
        want_usage=True,
        tier=tier,
        options={} if options is None else read_options(options),
        cleared=cleared,
    )
    rest.update(found)
    return msgspec.structs.replace(request, extra=Extra(NAME, tuple(rest.items())))


def _read_sampling(found: dict[str, bytes]) -> Sampling:
    def real(name: str) -> float | None:
        return number(found.pop(name), name) if name in found else None

    def whole(name: str) -> int | None:
        return integer(found.pop(name), name) if name in found else None

    logprobs = found.pop("logprobs", None)
    return Sampling(
        temperature=real("temperature"),
        top_p=real("p"),
        top_k=whole("k"),
        seed=whole("seed"),
        frequency_penalty=real("frequency_penalty"),
        presence_penalty=real("presence_penalty"),
        logprobs=None if logprobs is None else flag(logprobs, "logprobs"),
    )


def _read_tool(raw: bytes, path: str, strict: bool | None) -> Tool:
    found = members(raw, path)
    kind = found.pop("type", b'"function"')
    if kind != b'"function"':
        return Tool(name=string(kind, f"{path}.type"), kind="server", dialect=NAME, value=raw)
    inner = members(found.pop("function", b""), f"{path}.function")
    name = take_string(inner, "name", f"{path}.function")
    description = take_string(inner, "description", f"{path}.function")
    schema = inner.pop("parameters", b"")
    if schema and not is_object(schema):
        raise WrongShape(f"{path}.function.parameters", "an object")
    rest = {f"function.{name}": value for name, value in inner.items()} | found
    return Tool(name, description, schema, strict, extra=extra_of(rest))


def _read_tier(found: dict[str, bytes]) -> str:
    """A ``priority`` that has a name; any other stays."""
    value = found.get("priority", b"")
    for tier, priority in _TIERS.items():
        if value == b"%d" % priority:
            del found["priority"]
            return tier
    return ""


def _read_output(found: dict[str, bytes], rest: dict[str, bytes]) -> Output | None:
    value = found.pop("response_format", None)
    if value is None:
        return None
    told = members(value, "response_format")
    kind = take_string(told, "type", "response_format")
    if kind == "json_object" and is_object(told.get("json_schema", b"")) and len(told) == 1:
        return Output("schema", schema=told["json_schema"])
    if kind in ("json_object", "text") and not told:
        return Output("json" if kind == "json_object" else "text")
    rest["response_format"] = value
    return None


def _read_thinking(found: dict[str, bytes]) -> Thinking | None:
    value = found.pop("thinking", None)
    if value is None:
        return None
    told = members(value, "thinking")
    kind = take_string(told, "type", "thinking")
    budget = integer(told.pop("token_budget"), "thinking.token_budget") if "token_budget" in told else 0
    if kind not in ("enabled", "disabled"):
        raise WrongShape("thinking.type", "enabled or disabled")
    return Thinking("on" if kind == "enabled" else "off", budget=budget, extra=Extra(NAME, tuple(told.items())))


# -- writing a request -------------------------------------------------------------------------------------------------


class _RequestWriter:
    """One request on its way to one target. Mutable: ``_body`` and ``_losses``."""

    def __init__(self, request: ChatRequest, voice: Voice) -> None:
        self._request = request
        self._voice = voice
        self._losses = Losses()
        self._own = request.extra is not None and request.extra.dialect == NAME
        self._aliases = name_aliases([tool.name for tool in request.tools if tool.kind == "function"])
        self._body: dict[str, object] = {}

    def write(self) -> Outgoing:
        request, voice, body, losses = self._request, self._voice, self._body, self._losses
        body["model"] = voice.model or request.model
        messages = CohereMessages(voice.vendor or OWN, self._aliases, voice.accepts, voice.lacks, losses)
        said: list[object] = []
        asked = request.messages
        if asked and asked[-1].role == "assistant" and "prefill" not in voice.accepts:
            losses.lose("prefill")
            asked = asked[:-1]
        for at, message in enumerate(asked):
            messages.turn(message, f"messages[{at}]", said)
        body["messages"] = said
        self._tools()
        self._output()
        self._thinking()
        self._sampling()
        body["stream"] = request.stream
        says = SAYS if self._own else SAYS - {"logprobs"}
        losses.unsaid(request, says - voice.lacks)
        losses.extras(body, request.extra, NAME, voice.accepts, "")
        for name, renamed in voice.rename.items():
            if name in body:
                value = body.pop(name)
                if renamed:
                    body[renamed] = value
        told = [*losses.told, *merge_options(body, request.options, voice.addressed)]
        answers = {alias: name for name, alias in self._aliases.items()}
        return Outgoing(encode(body), tuple(told), aliases=answers)

    def _tools(self) -> None:
        request, voice, losses = self._request, self._voice, self._losses
        chosen = request.tool_choice
        if not request.tools:
            return
        if "tools" in voice.lacks:
            losses.lose("tools")
            return
        written: list[object] = []
        strict: list[bool | None] = []
        for at, tool in enumerate(request.tools):
            if chosen.mode in ("subset", "one") and tool.name not in chosen.names:
                continue
            if tool.kind == "server" and tool.dialect == NAME:
                written.append(raw_of(tool.value))
            elif tool.kind != "function":
                losses.lose(f"tools[{at}]")
            else:
                written.append(self._tool(tool, f"tools[{at}]"))
                strict.append(tool.strict)
        if not written:
            return
        self._body["tools"] = written
        self._strict(strict)
        if chosen.mode == "one":
            losses.lose("tool_choice")
        word = "NONE" if chosen.mode == "none" else ""
        if chosen.mode in ("required", "one") or (chosen.mode == "subset" and chosen.required):
            word = "REQUIRED"
        if word and "tool_choice" in voice.lacks:
            losses.lose("tool_choice")
        elif word:
            self._body["tool_choice"] = word

    def _strict(self, told: list[bool | None]) -> None:
        """One word for all tools: said when all agree, for it is never switched on where nobody asked."""
        if told and told[0] is not None and all(strict is told[0] for strict in told):
            if "strict" not in self._voice.lacks:
                self._body["strict_tools"] = told[0]
            elif told[0]:
                self._losses.lose("strict_tools")
        elif any(told):
            self._losses.lose("strict_tools")

    def _tool(self, tool: Tool, path: str) -> object:
        inner: dict[str, object] = {"name": self._aliases.get(tool.name, tool.name)}
        if tool.description:
            inner["description"] = tool.description
        inner["parameters"] = raw_of(tool.schema or _ANY_OBJECT)
        said: dict[str, object] = {"type": "function", "function": inner}
        if tool.extra is not None:
            for name, value in tool.extra.members:
                one = Extra(tool.extra.dialect, ((name.removeprefix("function."), value),))
                into = inner if name.startswith("function.") else said
                self._losses.extras(into, one, NAME, self._voice.accepts, path)
        return said

    def _output(self) -> None:
        output, lacks, losses = self._request.output, self._voice.lacks, self._losses
        if output is None:
            return
        if output.description:
            losses.lose("output.description")
        if output.kind == "schema" and "output.schema" not in lacks:
            form: dict[str, object] = {"type": "json_object", "json_schema": raw_of(output.schema or _ANY_OBJECT)}
        elif output.kind == "schema" and "output.json" in lacks:
            losses.lose("output.schema")
            return
        elif output.kind == "text":
            form = {"type": "text"}
        else:
            if output.kind == "schema":
                losses.lose("output.schema")
            elif "output.json" in lacks:
                losses.lose("output.json")
                return
            form = {"type": "json_object"}
        self._body["response_format"] = form

    def _thinking(self) -> None:
        thinking, losses = self._request.thinking, self._losses
        if thinking is None:
            return
        if "thinking" in self._voice.lacks:
            losses.lose("thinking")
            return
        said: dict[str, object] = {"type": "disabled" if thinking.mode == "off" else "enabled"}
        budget = thinking.budget
        if thinking.effort and budget <= 0 and thinking.mode != "off":
            budget = budget_of(thinking.effort, self._request.max_output or self._voice.max_output)
            if not budget:
                losses.lose("thinking.effort")
        if budget > 0 and thinking.mode != "off":
            said["token_budget"] = budget
        if thinking.show:
            losses.lose("thinking.show")
        losses.extras(said, thinking.extra, NAME, self._voice.accepts, "thinking")
        self._body["thinking"] = said

    def _sampling(self) -> None:
        request, lacks, losses = self._request, self._voice.lacks, self._losses
        sampling = request.sampling
        temperature = sampling.temperature
        if temperature is not None and temperature > 1 and "temperature" not in lacks:
            temperature = 1.0
            losses.lose("temperature")
        for feature, name, value in (
            ("max_output", "max_tokens", request.max_output), ("stop", "stop_sequences", request.stop or None),
            ("temperature", "temperature", temperature), ("top_p", "p", sampling.top_p), ("top_k", "k", sampling.top_k),
            ("seed", "seed", sampling.seed), ("frequency_penalty", "frequency_penalty", sampling.frequency_penalty),
            ("presence_penalty", "presence_penalty", sampling.presence_penalty),
            ("logprobs", "logprobs", sampling.logprobs if self._own else None),
        ):  # fmt: skip
            if value is not None and feature not in lacks:
                self._body[name] = value
        if request.tier in _TIERS and "tier" not in lacks:
            self._body["priority"] = _TIERS[request.tier]
        elif request.tier:
            losses.lose("tier")


# -- reading an answer -------------------------------------------------------------------------------------------------


def _read_answer(found: dict[str, bytes], voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
    message = members(found.pop("message", b""), "message")
    message.pop("role", None)
    parts = assistant_parts(message, "message", voice.vendor or OWN, aliases)
    word = take_string(found, "finish_reason", "answer")
    failed = broken_stop(word, "")
    if failed is not None:
        raise Fault(failed.code, failed.detail, reason=failed.reason, side=UPSTREAM, retry=IF_IDEMPOTENT)
    stop, extra = read_stop(word, any(isinstance(part, ToolCall) for part in parts))
    logprobs = found.pop("logprobs", b"")
    if message or (logprobs and extra is None):
        told = extra.members if extra is not None else ()
        extra = Extra(NAME, (*told, *[(f"message.{name}", value) for name, value in message.items()]))
    choice = Choice(parts=parts, stop=stop, logprobs=b"" if logprobs == NULL else logprobs, extra=extra)
    usage = read_usage(found.pop("usage", b""), voice.usage)
    id = take_string(found, "id", "answer")
    return ChatAnswer(id=id, model=voice.model, choices=(choice,), usage=usage, extra=extra_of(found))
