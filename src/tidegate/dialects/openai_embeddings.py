"""Embeddings: ``POST /v1/embeddings`` (LLM 2, 6). Vectors pass as the bytes they came in where formats agree.

The neutral form is ``exchange/embeddings``; there are no streams. Voyage's and Jina's ``input_type`` and ``task`` are
this dialect with names of their own, told by the preset's ``rename``.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidegate.exchange.chat import Extra, Raw, Usage
from tidegate.exchange.embeddings import (
    EmbeddingInput,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    Purpose,
    Vector,
    VectorFormat,
)  # fmt: skip
from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.chat_answer import answer_usage
from tidegate.rules.error_object import error_body, error_status, error_words, read_error
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.rules.vectors import as_array, as_base64
from tidegate.wire.chat_parts import own_members
from tidegate.wire.chat_tap import spliced
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
    raw_of,
    string,
)  # fmt: skip
from tidegate.wire.token_usage import read_usage

NAME: Final = "openai_embeddings"
MOST_INPUTS: Final = 100_000
"""Inputs of one call: a bound for hostile bodies; targets have far smaller ones."""

_SAID: Final = b""
_PURPOSES: Final[dict[str, Purpose]] = {
    "query": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "document": "document",
    "search_document": "document",
    "retrieval.passage": "document",
    "passage": "document",
    "text-matching": "similarity",
    "classification": "classification",
    "separation": "clustering",
    "clustering": "clustering",
}
"""What vendors of this dialect write in ``input_type`` or ``task``."""
_MEMBERS: Final = ("input_type", "task")
_FORMATS: Final[dict[str, VectorFormat]] = {
    "float": "float", "base64": "base64", "int8": "int8", "uint8": "uint8", "binary": "binary", "ubinary": "ubinary",
}  # fmt: skip
_RESERVED: Final = frozenset({"model", "input", "api_key", "authorization", "key", "base_url", "provider_options"})


class OpenaiEmbeddings:
    """The dialect. Has no state."""

    name = NAME
    framing: Framing = "sse"
    model_in_path = False
    surface = "embeddings"

    def path(self, door: str, model: str, stream: bool) -> str:
        return door.replace("{model}", quote(model, safe=""))

    def read_request(self, body: bytes, hints: Hints) -> EmbeddingsRequest:
        """A client's request."""
        try:
            return _read_request(members(body))
        except WrongShape as wrong:
            raise Fault("invalid_request", str(wrong), side=CLIENT, extra={"param": wrong.path or None}) from None

    def write_request(self, request: EmbeddingsRequest, voice: Voice) -> Outgoing:
        """The request as *voice* must hear it."""
        return _write_request(request, voice)

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> EmbeddingsAnswer:
        """A provider's answer."""
        try:
            return _read_answer(body, voice)
        except WrongShape as wrong:
            raise Fault("bad_upstream", f"The answer holds no embeddings: {wrong}", reason="bad_answer",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def write_answer(self, answer: EmbeddingsAnswer, asked: EmbeddingsRequest, now: int) -> Written:
        """The answer for the client that asked *asked*, in the format it asked for."""
        return _write_answer(answer, asked)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        return Written(error_body(fault), status=fault.status)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        return read_error(status, fields, body, now)

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model, False)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        return answer_usage(body, voice.usage)


def _read_request(told: dict[str, Raw]) -> EmbeddingsRequest:
    for name in [name for name, value in told.items() if value == NULL]:
        del told[name]
    model = string(told.pop("model", b""), "model")
    value = told.pop("input", b"")
    inputs, single = _read_inputs(value)
    said: list[tuple[str, Raw]] = []
    word = string(told.pop("encoding_format", b'"float"'), "encoding_format")
    format = _FORMATS.get(word)
    if format is None:
        raise WrongShape("encoding_format", "float or base64")
    purpose: Purpose = ""
    for name in _MEMBERS:
        known = _PURPOSES.get(string(told[name], name)) if is_string(told.get(name, b"")) else None
        if known is not None and not purpose:
            purpose = known
            said.append((name, told.pop(name)))
    return EmbeddingsRequest(
        model=model,
        inputs=inputs,
        dimensions=integer(told.pop("dimensions", b"0"), "dimensions"),
        purpose=purpose,
        format=format,
        truncate=flag(told.pop("truncation"), "truncation") if "truncation" in told else None,
        user=string(told.pop("user", b'""'), "user"),
        single=single,
        options=members(told.pop("provider_options", b"{}"), "provider_options"),
        extra=Extra(NAME, (*said, *told.items())),
    )


def _read_inputs(raw: Raw) -> tuple[tuple[EmbeddingInput, ...], bool]:
    """A text, an array of texts, token ids, or arrays of token ids; images as ``{"image": url}`` (Jina's)."""
    if is_string(raw):
        return (EmbeddingInput(text=string(raw, "input")),), True
    found = items(raw, "input")
    if len(found) > MOST_INPUTS:
        raise WrongShape("input", "shorter")
    if found and found[0][:1].isdigit():
        return (EmbeddingInput(kind="tokens", tokens=_tokens(raw, "input")),), True
    return tuple([_read_input(one, f"input[{at}]") for at, one in enumerate(found)]), False


def _read_input(raw: Raw, path: str) -> EmbeddingInput:
    if is_string(raw):
        return EmbeddingInput(text=string(raw, path))
    if is_object(raw):
        told = members(raw, path)
        if "image" in told:
            return EmbeddingInput(kind="image", image=string(told["image"], path + ".image"))
        return EmbeddingInput(text=string(told.get("text", b""), path + ".text"))
    return EmbeddingInput(kind="tokens", tokens=_tokens(raw, path))


_token_ids = msgspec.json.Decoder(list[int]).decode


def _tokens(raw: Raw, path: str) -> Raw:
    try:
        _token_ids(raw)
    except msgspec.DecodeError:
        raise WrongShape(path, "a text or token ids") from None
    return raw


def _write_request(request: EmbeddingsRequest, voice: Voice) -> Outgoing:
    losses: list[str] = []
    own = own_members(request.extra, NAME)
    inputs: list[Any] = []
    for at, one in enumerate(request.inputs):
        if one.kind == "text":
            inputs.append(one.text)
        elif one.kind == "tokens":
            inputs.append(raw_of(one.tokens))
        elif "image" in voice.accepts:
            inputs.append({"image": one.image})
        else:
            losses.append(f"input[{at}].image")
        if one.title:
            losses.append(f"input[{at}].title")
    body: dict[str, Any] = {"model": voice.model or request.model}
    body["input"] = inputs[0] if request.single and len(inputs) == 1 else inputs
    format = request.format if request.format == "float" or "encoding_format" not in voice.lacks else "float"
    if format not in ("float", "base64") and format not in voice.accepts:
        losses.append("format")
        format = "float"
    if format != "float":
        body["encoding_format"] = format
    if request.dimensions:
        if "dimensions" in voice.lacks:
            losses.append("dimensions")
        else:
            body[voice.rename.get("dimensions", "dimensions")] = request.dimensions
    _write_purpose(request, voice, own, body, losses)
    if request.truncate is not None:
        if "truncation" in own or "truncation" in voice.accepts:
            body["truncation"] = request.truncate
        else:
            losses.append("truncate")
    if request.user:
        body["user"] = request.user
    if request.extra is not None:
        for name, value in request.extra.members:
            if name in _MEMBERS and request.extra.dialect == NAME:
                continue
            if value and (request.extra.dialect == NAME or name in voice.accepts):
                body.setdefault(name, raw_of(value))
            elif value:
                losses.append(name)
    for address in voice.addressed:
        raw = request.options.get(address)
        if raw and is_object(raw):
            for name, value in members(raw, "provider_options").items():
                if name.lower() not in _RESERVED:
                    body[name] = raw_of(value)
    return Outgoing(encode(body), tuple(dict.fromkeys(losses)))


def _write_purpose(
    request: EmbeddingsRequest, voice: Voice, own: dict[str, Raw], body: dict[str, Any], losses: list[str]
) -> None:
    """What the client wrote goes back as it was; else the member that the preset accepts, in its words."""
    for name in _MEMBERS:
        if name in own:
            body[name] = raw_of(own[name])
            return
    if not request.purpose:
        return
    for name in _MEMBERS:
        if name in voice.accepts:
            word = voice.rename.get(request.purpose, request.purpose)
            body[name] = word
            return
    losses.append("purpose")


def _read_answer(body: bytes, voice: Voice) -> EmbeddingsAnswer:
    if not body.strip():
        raise WrongShape("", "an object; it is empty")
    told = members(body)
    if is_object(told.get("error", b"")):
        words, message = error_words(body)
        raise upstream_fault(error_status(told["error"], 500), words, message, {}, 0.0)
    vectors = []
    for at, raw in enumerate(items(told.pop("data", b""), "data")):
        one = members(raw, f"data[{at}]")
        value = one.pop("embedding", b"")
        index = one.pop("index", NULL)
        one.pop("object", None)
        if is_string(value):
            value, format = string(value, f"data[{at}].embedding").encode(), "base64"
        elif value[:1] == b"[":
            format = "float"
        else:
            raise WrongShape(f"data[{at}].embedding", "an array or base64")
        vectors.append(
            Vector(
                index=at if index == NULL else integer(index),
                value=value,
                format="base64" if format == "base64" else "float",
                extra=Extra(NAME, tuple(one.items())) if one else None,
            )
        )
    vectors.sort(key=lambda vector: vector.index)
    usage = told.pop("usage", NULL)
    model = told.pop("model", NULL)
    id = told.pop("id", NULL)
    told.pop("object", None)
    return EmbeddingsAnswer(
        model="" if model == NULL else string(model, "model"),
        id="" if id == NULL else string(id, "id"),
        vectors=tuple(vectors),
        usage=None if usage == NULL else read_usage(_with_prompt(usage), voice.usage),
        extra=Extra(NAME, tuple(told.items())),
    )


def _with_prompt(usage: Raw) -> Raw:
    """Voyage tells ``total_tokens`` alone, which are all input."""
    told = members(usage, "usage")
    if "prompt_tokens" in told or "total_tokens" not in told:
        return usage
    return encode(
        {**{name: raw_of(value) for name, value in told.items()}, "prompt_tokens": raw_of(told["total_tokens"])}
    )


def _write_answer(answer: EmbeddingsAnswer, asked: EmbeddingsRequest) -> Written:
    losses: list[str] = []
    data = []
    for vector in answer.vectors:
        body: dict[str, Any] = {"object": "embedding", "index": vector.index, "embedding": _value(vector, asked.format)}
        for name, value in own_members(vector.extra, NAME).items():
            body.setdefault(name, raw_of(value))
        data.append(body)
    written: dict[str, Any] = {"object": "list", "data": data, "model": answer.model or asked.model}
    own = own_members(answer.extra, NAME)
    if answer.id and answer.extra is not None and answer.extra.dialect == NAME:
        written["id"] = answer.id
    count = answer.usage.input if answer.usage is not None else 0
    written["usage"] = {"prompt_tokens": count, "total_tokens": count}
    for name, value in own.items():
        written.setdefault(name, raw_of(value))
    if answer.extra is not None and answer.extra.dialect != NAME:
        losses += [name for name, value in answer.extra.members if value]
    return Written(encode(written), tuple(losses))


def _value(vector: Vector, wanted: VectorFormat) -> Any:
    """The vector as the client asked for it; counted only where the formats differ."""
    return as_base64(vector) if wanted == "base64" else raw_of(as_array(vector))
