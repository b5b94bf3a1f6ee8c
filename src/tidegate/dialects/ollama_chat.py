"""Ollama's chat (LLM 5, column oll): ``POST /api/chat``, read and written on either side. Silence means: stream."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Extra,
    Tool,
    ToolCall,
    Usage,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.rules.content_blocks import take_string
from tidegate.rules.error_object import error_words
from tidegate.rules.losses import Losses
from tidegate.rules.ollama_events import OllamaEventReader, OllamaEventWriter, done_members
from tidegate.rules.ollama_messages import (
    NAME,
    OWN,
    SAYS,
    OllamaTurns,
    answer_parts,
    extra_of,
    moment,
    read_format,
    read_moment,
    read_sampling,
    read_stop,
    read_think,
    read_turns,
    read_usage,
    write_format,
    write_sampling,
    write_think,
)
from tidegate.rules.ollama_tap import answer_usage, event_usage, spliced
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    flag,
    is_object,
    is_string,
    items,
    members,
    raw_of,
    string,
)

_CLEARED: Final = {
    "format": "output", "think": "thinking", "provider_options": "options", "options": "sampling",
}  # fmt: skip
_ANY_OBJECT: Final = b'{"type":"object","properties":{}}'


class OllamaChat:
    """``POST /api/chat`` (``ports.dialect.Dialect``)."""

    name = NAME
    framing: Framing = "ndjson"
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
        created = moment(answer.created or now)
        turns = OllamaTurns(None, frozenset(), frozenset(), losses)
        message: dict[str, object] = {"role": "assistant", **turns.content(choice.parts, "answer", created)}
        written: dict[str, object] = {
            "model": answer.model or asked.model, "created_at": created, "message": message,
            **done_members(choice.stop, choice.extra, answer.usage),
        }  # fmt: skip
        if choice.extra is not None and choice.extra.dialect == NAME:
            for name, value in choice.extra.members:
                if name.startswith("message."):
                    message[name[8:]] = raw_of(value)
            if choice.logprobs:
                written["logprobs"] = raw_of(choice.logprobs)
        elif choice.logprobs:
            losses.lose("logprobs")
        losses.extras(written, answer.extra, NAME, frozenset(), "")
        return Written(encode(written), tuple(losses.told))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return OllamaEventWriter(asked, now)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        fields = (("x-request-id", request_id),) if request_id else ()
        return Written(encode({"error": fault.detail or CODES[fault.code].title}), status=fault.status, fields=fields)

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        lacks, losses = voice.lacks, Losses()
        body: dict[str, object] = {"model": voice.model or request.model}
        turns = OllamaTurns(voice.vendor or OWN, voice.accepts, lacks, losses)
        asked = request.messages
        if asked and asked[-1].role == "assistant" and "prefill" in lacks:
            losses.lose("prefill")
            asked = asked[:-1]
        said: list[object] = []
        for at, message in enumerate(asked):
            turns.turn(message, at, said)
        body["messages"] = said
        _write_tools(request, voice, losses, body)
        write_format(request.output, lacks, losses, body)
        write_sampling(request, lacks, body)
        write_think(request.thinking, voice.thinking_style, lacks, losses, body)
        body["stream"] = request.stream
        if request.tier:
            losses.lose("tier")
        losses.unsaid(request, SAYS - lacks)
        extra = request.extra
        if extra is not None:
            rest = [member for member in extra.members if extra.dialect != NAME or not member[0].startswith("options.")]
            losses.extras(body, Extra(extra.dialect, tuple(rest)), NAME, voice.accepts, "")
        for name, renamed in voice.rename.items():
            if name in body:
                value = body.pop(name)
                if renamed:
                    body[renamed] = value
        told = [*losses.told, *merge_options(body, request.options, voice.addressed)]
        return Outgoing(encode(body), tuple(told))

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            found = members(body)
            error = found.get("error", b"")
            if is_string(error):
                raise upstream_fault(500, "", string(error), {}, 0.0)
            return _read_answer(found, voice, aliases)
        except (WrongShape, UnicodeDecodeError):
            raise Fault("bad_upstream", "The provider's answer is not in its own words.", reason="protocol",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return OllamaEventReader(voice.vendor or OWN, aliases, voice.usage)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        words, message = error_words(body)
        return upstream_fault(status, words, message, fields, now)

    # -- passing bytes through -----------------------------------------------------------------------------------------

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        return answer_usage(body, voice.usage)

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        return event_usage(data, voice.usage)


# -- reading -----------------------------------------------------------------------------------------------------------


def _read_request(found: dict[str, bytes]) -> ChatRequest:
    cleared = tuple([_CLEARED.get(name, name) for name, value in found.items() if value == NULL])
    for name in [name for name, value in found.items() if value == NULL]:
        del found[name]
    model = string(found.pop("model", b""), "model")
    messages = read_turns(items(found.pop("messages", b"[]"), "messages"))
    raws = items(found.pop("tools", b"[]"), "tools")
    tools = tuple([_read_tool(raw, f"tools[{at}]") for at, raw in enumerate(raws)])
    options = found.pop("provider_options", None)
    stream = "stream" not in found or flag(found.pop("stream"), "stream")
    rest: dict[str, bytes] = {}
    sampling, limit, stop = read_sampling(found, rest)
    output = read_format(found)
    thinking = read_think(found)
    rest.update(found)
    return ChatRequest(
        model=model, messages=messages, tools=tools, output=output, thinking=thinking, sampling=sampling,
        max_output=limit, stop=stop, stream=stream, want_usage=True,
        options={} if options is None else read_options(options), cleared=cleared, extra=extra_of(rest),
    )  # fmt: skip


def _read_tool(raw: bytes, path: str) -> Tool:
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
    return Tool(name, description, schema, extra=extra_of(rest))


def _read_answer(found: dict[str, bytes], voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
    message = members(found.pop("message", b""), "message")
    message.pop("role", None)
    created = take_string(found, "created_at", "answer")
    parts = answer_parts(message, "message", created, voice.vendor or OWN, aliases)
    word = take_string(found, "done_reason", "answer")
    stop, extra = read_stop(word, any(isinstance(part, ToolCall) for part in parts))
    logprobs = found.pop("logprobs", NULL)
    if message or (logprobs != NULL and extra is None):
        told = extra.members if extra is not None else ()
        extra = Extra(NAME, (*told, *[(f"message.{name}", value) for name, value in message.items()]))
    usage = read_usage(found, voice.usage)
    for name in ("done", "prompt_eval_count", "eval_count"):
        found.pop(name, None)
    choice = Choice(parts=parts, stop=stop, logprobs=b"" if logprobs == NULL else logprobs, extra=extra)
    return ChatAnswer(
        model=take_string(found, "model", "answer"), created=read_moment(created), choices=(choice,), usage=usage,
        extra=extra_of(found),
    )  # fmt: skip


# -- writing -----------------------------------------------------------------------------------------------------------


def _write_tools(request: ChatRequest, voice: Voice, losses: Losses, body: dict[str, object]) -> None:
    """The tools that may be called: there is no choice among them but to leave them out."""
    chosen = request.tool_choice
    if not request.tools or chosen.mode == "none":
        return
    if "tools" in voice.lacks:
        losses.lose("tools")
        return
    written: list[object] = []
    for at, tool in enumerate(request.tools):
        if chosen.mode == "subset" and tool.name not in chosen.names:
            continue
        if tool.kind == "server" and tool.dialect == NAME:
            written.append(raw_of(tool.value))
        elif tool.kind != "function":
            losses.lose(f"tools[{at}]")
        else:
            written.append(_tool(tool, f"tools[{at}]", voice, losses))
    if written:
        body["tools"] = written
    if chosen.mode in ("required", "one") or (chosen.mode == "subset" and chosen.required):
        losses.lose("tool_choice")


def _tool(tool: Tool, path: str, voice: Voice, losses: Losses) -> object:
    inner: dict[str, object] = {"name": tool.name}
    if tool.description:
        inner["description"] = tool.description
    inner["parameters"] = raw_of(tool.schema or _ANY_OBJECT)
    if tool.strict:
        losses.lose(f"{path}.strict")
    said: dict[str, object] = {"type": "function", "function": inner}
    if tool.extra is not None:
        for name, value in tool.extra.members:
            one = Extra(tool.extra.dialect, ((name.removeprefix("function."), value),))
            losses.extras(inner if name.startswith("function.") else said, one, NAME, voice.accepts, path)
    return said
