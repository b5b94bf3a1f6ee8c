"""Ollama's generation (LLM 2): ``POST /api/generate``, a chat of one turn: ``system``, ``prompt``, ``images``.

It shares its settings, counts and stream with Ollama's chat (``rules/ollama_*``).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Cited,
    Extra,
    Message,
    Part,
    Text,
    Usage,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.rules.content_blocks import take_string
from tidegate.rules.error_object import error_words
from tidegate.rules.losses import Losses
from tidegate.rules.ollama_events import OllamaEventReader, OllamaEventWriter, done_members
from tidegate.rules.ollama_messages import NAME as CHAT
from tidegate.rules.ollama_messages import (
    OWN,
    SAYS,
    OllamaTurns,
    answer_parts,
    moment,
    read_format,
    read_image,
    read_moment,
    read_sampling,
    read_stop,
    read_think,
    read_usage,
    write_format,
    write_sampling,
    write_think,
)
from tidegate.rules.ollama_tap import answer_usage, event_usage, spliced
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import NULL, WrongShape, encode, flag, is_string, members, string, strings

NAME: Final = "ollama_generate"
_ALONE: Final = frozenset(("context", "template", "raw", "suffix", "width", "height", "steps"))
"""Members that a chat does not have; with one of them the unknown members are words of this dialect only."""


class OllamaGenerate:
    """``POST /api/generate`` (``ports.dialect.Dialect``)."""

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
        said = OllamaTurns(None, frozenset(), frozenset(), losses).content(choice.parts, "answer", "")
        written: dict[str, object] = {
            "model": answer.model or asked.model, "created_at": moment(answer.created or now),
            "response": said["content"],
        }  # fmt: skip
        if "thinking" in said:
            written["thinking"] = said["thinking"]
        if "tool_calls" in said:
            losses.lose("answer.tool_calls")
        written.update(done_members(choice.stop, choice.extra, answer.usage))
        losses.extras(written, answer.extra, CHAT, frozenset(), "")
        return Written(encode(written), tuple(losses.told))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return OllamaEventWriter(asked, now, plain=True)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        fields = (("x-request-id", request_id),) if request_id else ()
        return Written(encode({"error": fault.detail or CODES[fault.code].title}), status=fault.status, fields=fields)

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        lacks, losses = voice.lacks, Losses()
        body: dict[str, object] = {"model": voice.model or request.model}
        _write_turn(request, body, losses)
        if request.tools:
            losses.lose("tools")
        extra = request.extra
        if extra is not None and extra.dialect == NAME:
            extra = Extra(CHAT, extra.members)
        write_format(request.output, lacks, losses, body)
        write_sampling(replace(request, extra=extra), lacks, body)
        write_think(request.thinking, voice.thinking_style, lacks, losses, body)
        body["stream"] = request.stream
        losses.unsaid(request, SAYS - lacks)
        if extra is not None:
            rest = [member for member in extra.members if extra.dialect != CHAT or not member[0].startswith("options.")]
            losses.extras(body, Extra(extra.dialect, tuple(rest)), CHAT, voice.accepts, "")
        told = [*losses.told, *merge_options(body, request.options, voice.addressed)]
        return Outgoing(encode(body), tuple(told))

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            found = members(body)
            error = found.get("error", b"")
            if is_string(error):
                raise upstream_fault(500, "", string(error), {}, 0.0)
            return _read_answer(found, voice)
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


def _read_request(found: dict[str, bytes]) -> ChatRequest:
    cleared = tuple([name for name, value in found.items() if value == NULL])
    for name in cleared:
        del found[name]
    messages: list[Message] = []
    system = take_string(found, "system", "body")
    if system:
        messages.append(Message("system", (Text(text=system),)))
    prompt = take_string(found, "prompt", "body")
    parts: list[Part] = [Text(text=prompt)] if prompt else []
    parts += [read_image(data) for data in strings(found.pop("images", b"[]"), "images")]
    if parts:
        messages.append(Message("user", tuple(parts)))
    model = string(found.pop("model", b""), "model")
    options = found.pop("provider_options", None)
    stream = "stream" not in found or flag(found.pop("stream"), "stream")
    rest: dict[str, bytes] = {}
    sampling, limit, stop = read_sampling(found, rest)
    output = read_format(found)
    thinking = read_think(found)
    rest.update(found)
    return ChatRequest(
        model=model, messages=tuple(messages), output=output, thinking=thinking, sampling=sampling, max_output=limit,
        stop=stop, stream=stream, want_usage=True, options={} if options is None else read_options(options),
        cleared=cleared,
        extra=Extra(NAME if rest.keys() & _ALONE else CHAT, tuple(rest.items())) if rest else None,
    )  # fmt: skip


def _write_turn(request: ChatRequest, body: dict[str, object], losses: Losses) -> None:
    """What system and the last user say; a generation has no other turns."""
    system: list[str] = []
    last = max([at for at, message in enumerate(request.messages) if message.role == "user"], default=-1)
    for at, message in enumerate(request.messages):
        if message.role == "system":
            system += [part.text for part in message.parts if isinstance(part, Text | Cited)]
        elif at == last:
            turns = OllamaTurns(OWN, frozenset(), frozenset(), losses)
            said = turns.content(message.parts, f"messages[{at}]", "")
            body["prompt"] = said["content"]
            if "images" in said:
                body["images"] = said["images"]
        else:
            losses.lose(f"messages[{at}]")
    if system:
        body["system"] = "\n".join(system)


def _read_answer(found: dict[str, bytes], voice: Voice) -> ChatAnswer:
    if "response" not in found:
        raise WrongShape("response", "a string")
    message = {"content": found.pop("response"), "thinking": found.pop("thinking", NULL)}
    parts = answer_parts(message, "answer", "", voice.vendor or OWN, {})
    stop, extra = read_stop(take_string(found, "done_reason", "answer"), False)
    usage = read_usage(found, voice.usage)
    for name in ("done", "prompt_eval_count", "eval_count"):
        found.pop(name, None)
    created = read_moment(take_string(found, "created_at", "answer"))
    model = take_string(found, "model", "answer")
    return ChatAnswer(
        model=model, created=created, choices=(Choice(parts=parts, stop=stop, extra=extra),), usage=usage,
        extra=Extra(CHAT, tuple(found.items())) if found else None,
    )  # fmt: skip
