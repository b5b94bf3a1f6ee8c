"""Text completions: ``POST /v1/completions``, older than chat and still spoken by base models (LLM 2, 6).

A prompt is one user turn. Several prompts, or token ids, have no neutral name: they are an ``Opaque`` part, good for
this dialect only. On a target that chats the answer's text is the completion, with the loss ``completions.shape``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Cited,
    Extra,
    Message,
    Opaque,
    Part,
    Raw,
    Sampling,
    Text,
    Usage,
)  # fmt: skip
from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import guarded
from tidegate.rules.chat_answer import answer_usage
from tidegate.rules.completion_events import STOPS, WORDS, CompletionEventReader, CompletionEventWriter
from tidegate.rules.error_object import error_body, error_status, error_words, read_error
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.chat_parts import own_members
from tidegate.wire.chat_tap import event_usage, spliced
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
    string,
    strings,
)  # fmt: skip
from tidegate.wire.token_usage import chat_usage, read_usage

NAME: Final = "openai_completions"
SHAPE: Final = "completions.shape"
_SAID: Final = b""
_RESERVED: Final = frozenset({"model", "prompt", "messages", "stream", "stream_options", "api_key", "authorization"})


class OpenaiCompletions:
    """The dialect. Has no state."""

    name = NAME
    framing: Framing = "sse"
    model_in_path = False
    surface = "completions"

    def path(self, door: str, model: str, stream: bool) -> str:
        return door.replace("{model}", quote(model, safe=""))

    # -- as the client speaks it ---------------------------------------------------------------------------------------

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return _read_request(members(body))
        except WrongShape as wrong:
            raise Fault("invalid_request", str(wrong), side=CLIENT, extra={"param": wrong.path or None}) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        own = own_members(answer.extra, NAME)
        native = answer.extra is not None and answer.extra.dialect == NAME
        losses = [] if native else [SHAPE]
        choices = []
        for choice in answer.choices:
            if choice.stop == "broken":
                return self.write_fault(Fault("bad_upstream", "The model broke off.", side=UPSTREAM), "")
            body = {"index": choice.index, "text": _text(choice.parts, losses), "logprobs": None,
                    "finish_reason": WORDS.get(choice.stop, "stop")}  # fmt: skip
            if choice.logprobs and choice.extra is not None and choice.extra.dialect == NAME:
                body["logprobs"] = raw_of(choice.logprobs)
            body |= {name: raw_of(value) for name, value in own_members(choice.extra, NAME).items()}
            choices.append(body)
        written: dict[str, Any] = {
            "id": answer.id if native or answer.id.startswith("cmpl") else _own_id(answer.id or str(now)),
            "object": "text_completion",
            "created": answer.created or now,
            "model": answer.model or asked.model,
            "choices": choices,
        }
        if answer.usage is not None:
            written["usage"] = chat_usage(answer.usage)
        for name, value in own.items():
            written.setdefault(name, raw_of(value))
        return Written(encode(written), tuple(losses))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return CompletionEventWriter(id if id.startswith("cmpl") else "cmpl-" + id, now, asked.model, asked.want_usage)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        return Written(error_body(fault), status=fault.status)

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _write_request(request, voice)

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            return _read_answer(body, voice.usage)
        except WrongShape as wrong:
            raise Fault("bad_upstream", f"The answer is no completion: {wrong}", reason="bad_answer",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return CompletionEventReader(voice.usage)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        return read_error(status, fields, body, now)

    # -- passing bytes through -----------------------------------------------------------------------------------------

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model, ask_usage)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        return answer_usage(body, voice.usage)

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        return event_usage(event, data, voice.usage)


def _own_id(id: str) -> str:
    return "cmpl-" + blake2b(id.encode(), digest_size=15).hexdigest()


# -- a request ---------------------------------------------------------------------------------------------------------


def _read_request(told: dict[str, Raw]) -> ChatRequest:
    cleared = tuple([name for name, value in told.items() if value == NULL])
    for name in cleared:
        del told[name]
    said: list[tuple[str, Raw]] = []

    def take(name: str, read: Callable[[Raw, str], Any]) -> Any:
        value = told.pop(name, None)
        return None if value is None else read(value, name)

    model = string(told.pop("model", b""), "model")
    messages = _read_prompt(told.pop("prompt", b'""'))
    n = take("n", integer)
    if n == 1:
        said.append(("n", _SAID))
    stop_raw = told.pop("stop", b"[]")
    if is_string(stop_raw):
        said.append(("stop", _SAID))
    top = take("logprobs", integer)
    stream = take("stream", flag)
    if stream is False:
        said.append(("stream", _SAID))
    inner = members(told.pop("stream_options", b"{}"), "stream_options")
    want_usage = flag(inner.pop("include_usage", b"false"), "stream_options.include_usage")
    for name, value in inner.items():
        told["stream_options." + name] = value
    options = members(told.pop("provider_options", b"{}"), "provider_options")
    request = ChatRequest(
        model=model,
        messages=messages,
        sampling=Sampling(
            temperature=take("temperature", number),
            top_p=take("top_p", number),
            seed=take("seed", integer),
            frequency_penalty=take("frequency_penalty", number),
            presence_penalty=take("presence_penalty", number),
            logit_bias=told.pop("logit_bias", b""),
            logprobs=None if top is None else True,
            top_logprobs=-1 if top is None else top,
            n=1 if n is None else n,
        ),
        max_output=take("max_tokens", integer),
        stop=(string(stop_raw, "stop"),) if is_string(stop_raw) else tuple(strings(stop_raw, "stop")),
        stream=bool(stream),
        want_usage=want_usage,
        user=take("user", string) or "",
        options=options,
        cleared=cleared,
    )
    return msgspec.structs.replace(request, extra=Extra(NAME, (*said, *told.items())))


def _read_prompt(raw: Raw) -> tuple[Message, ...]:
    part: Part
    if is_string(raw):
        part = Text(text=string(raw, "prompt"))
    else:
        prompts = items(raw, "prompt")
        if len(prompts) == 1 and is_string(prompts[0]):
            part = Text(text=string(prompts[0], "prompt"))
        else:
            part = Opaque(dialect=NAME, kind="prompt", value=raw)
    return (Message(role="user", parts=(part,), extra=Extra(NAME), raw=raw),)


def _write_request(request: ChatRequest, voice: Voice) -> Outgoing:
    losses: list[str] = []
    own = own_members(request.extra, NAME)
    said = {name for name, value in own.items() if not value}
    body: dict[str, Any] = {"model": voice.model or request.model, "prompt": _prompt(request.messages, losses)}
    sampling = request.sampling

    def put(feature: str, name: str, value: Any, asked: bool) -> None:
        if asked:
            if feature in voice.lacks:
                losses.append(feature)
            else:
                body[voice.rename.get(name, name)] = value

    put("max_output", "max_tokens", request.max_output, request.max_output is not None)
    put("temperature", "temperature", sampling.temperature, sampling.temperature is not None)
    put("top_p", "top_p", sampling.top_p, sampling.top_p is not None)
    put("seed", "seed", sampling.seed, sampling.seed is not None)
    put("penalties", "frequency_penalty", sampling.frequency_penalty, sampling.frequency_penalty is not None)
    put("penalties", "presence_penalty", sampling.presence_penalty, sampling.presence_penalty is not None)
    put("logit_bias", "logit_bias", raw_of(sampling.logit_bias), bool(sampling.logit_bias))
    put("logprobs", "logprobs", max(sampling.top_logprobs, 0), bool(sampling.logprobs))
    put("n", "n", sampling.n, sampling.n != 1 or "n" in said)
    stop: Any = request.stop[0] if "stop" in said and len(request.stop) == 1 else list(request.stop)
    put("stop", "stop", stop, bool(request.stop))
    put("user", "user", request.user, bool(request.user))
    for name, asked in (
        ("top_k", sampling.top_k is not None), ("tools", bool(request.tools)),
        ("thinking", request.thinking is not None), ("output", request.output is not None),
        ("verbosity", bool(sampling.verbosity)), ("tier", bool(request.tier)),
        ("metadata", bool(request.metadata)), ("prediction", bool(request.prediction)),
        ("state", request.state is not None),
    ):  # fmt: skip
        if asked:
            losses.append(name)
    if request.stream:
        body["stream"] = True
        if voice.usage_chunk == "ask":
            inner = {name[15:]: raw_of(value) for name, value in own.items() if name.startswith("stream_options.")}
            body["stream_options"] = {"include_usage": True, **inner}
    elif "stream" in said:
        body["stream"] = False
    if request.extra is not None:
        for name, value in request.extra.members:
            if not value or name.startswith("stream_options."):
                continue
            if request.extra.dialect == NAME or name in voice.accepts:
                body.setdefault(name, raw_of(value))
            else:
                losses.append(name)
        if request.extra.dialect == NAME:
            for name in request.cleared:
                body.setdefault(name, None)
    for address in voice.addressed:
        raw = request.options.get(address)
        if raw and is_object(raw):
            for name, value in members(raw, "provider_options").items():
                if name.lower() not in _RESERVED and not guarded(name):
                    body[name] = raw_of(value)
    return Outgoing(encode(body), tuple(dict.fromkeys(losses)))


def _prompt(messages: tuple[Message, ...], losses: list[str]) -> Any:
    """One turn's text as it is; a conversation as its texts, a line apart, which is a loss of its shape."""
    if len(messages) == 1:
        message = messages[0]
        if message.raw and message.extra is not None and message.extra.dialect == NAME:
            return raw_of(message.raw)
    texts: list[str] = []
    for number_, message in enumerate(messages):
        for part in message.parts:
            if isinstance(part, (Text, Cited)):
                texts.append(part.text)
            elif isinstance(part, Opaque) and part.dialect == NAME:
                return raw_of(part.value)
            else:
                losses.append(f"messages[{number_}].{type(part).__name__.lower()}")
    if len(messages) != 1 or messages[0].role != "user":
        losses.append(SHAPE)
    return "\n\n".join(texts)


# -- an answer ---------------------------------------------------------------------------------------------------------


def _text(parts: tuple[Part, ...], losses: list[str]) -> str:
    found = []
    for part in parts:
        if isinstance(part, (Text, Cited)):
            found.append(part.text)
        else:
            losses.append(part.kind if isinstance(part, Opaque) else type(part).__name__.lower())
    return "".join(found)


def _read_answer(body: bytes, renames: Mapping[str, str]) -> ChatAnswer:
    if not body.strip():
        raise WrongShape("", "an object; it is empty")
    told = members(body)
    if is_object(told.get("error", b"")):
        words, message = error_words(body)
        raise upstream_fault(error_status(told["error"], 500), words, message, {}, 0.0)
    choices = []
    for at, raw in enumerate(items(told.pop("choices", b""), "choices")):
        one = members(raw, f"choices[{at}]")
        text = string(one.pop("text", b'""'), f"choices[{at}].text")
        logprobs = one.pop("logprobs", NULL)
        index = one.pop("index", NULL)
        word = one.pop("finish_reason", NULL)
        known = "" if word == NULL else string(word)
        if known and known not in STOPS:
            one["finish_reason"] = word
        choices.append(
            Choice(
                index=at if index == NULL else integer(index),
                parts=(Text(text=text),) if text else (),
                stop=STOPS.get(known, "stop"),
                logprobs=b"" if logprobs == NULL else logprobs,
                extra=Extra(NAME, tuple(one.items())),
            )
        )
    if not choices:
        raise WrongShape("choices", "an array that is not empty")
    usage = told.pop("usage", NULL)
    created = told.pop("created", NULL)
    id, model = told.pop("id", NULL), told.pop("model", NULL)
    told.pop("object", None)
    return ChatAnswer(
        id="" if id == NULL else string(id, "id"),
        model="" if model == NULL else string(model, "model"),
        created=0 if created == NULL else integer(created, "created"),
        choices=tuple(choices),
        usage=None if usage == NULL else read_usage(usage, renames),
        extra=Extra(NAME, tuple(told.items())),
    )
