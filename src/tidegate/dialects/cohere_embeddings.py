"""Cohere's ``POST /v2/embed`` (LLM 2, 6): requests, answers and faults, read and written on either side.

The neutral form is ``exchange/embeddings``; there are no streams. A client may ask for several types of vectors at
once; only bytes that pass untouched give it all of them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tidegate.exchange.chat import Extra, Raw, Usage
from tidegate.exchange.embeddings import (
    EmbeddingInput,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    Purpose,
    Vector,
    VectorFormat,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.rules.cohere_messages import read_usage
from tidegate.rules.content_blocks import take_string
from tidegate.rules.error_object import error_words
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.rules.vectors import as_array, as_base64
from tidegate.wire.chat_tap import spliced
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    integer,
    is_array,
    is_object,
    is_string,
    items,
    members,
    raw_of,
    string,
    strings,
)

NAME: Final = "cohere_embeddings"
MOST_INPUTS: Final = 100_000
"""Inputs of one call: a bound for hostile bodies; targets have far smaller ones."""

_PURPOSES: Final[dict[str, Purpose]] = {
    "search_query": "query",
    "search_document": "document",
    "classification": "classification",
    "clustering": "clustering",
    "image": "",
}
_INPUT_TYPES: Final[dict[str, str]] = {
    "query": "search_query", "document": "search_document", "similarity": "clustering",
    "classification": "classification", "clustering": "clustering", "code": "search_document",
}  # fmt: skip
_INEXACT: Final = frozenset({"", "similarity", "code"})
"""Purposes without a word here: said as the nearest, and named as a loss (LLM 6)."""

_FORMATS: Final[dict[str, VectorFormat]] = {
    "float": "float", "base64": "base64", "int8": "int8", "uint8": "uint8", "binary": "binary", "ubinary": "ubinary",
}  # fmt: skip


class CohereEmbeddings:
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
            raise Fault("invalid_request", str(wrong), side=CLIENT) from None

    def write_request(self, request: EmbeddingsRequest, voice: Voice) -> Outgoing:
        """The request as *voice* must hear it."""
        return _write_request(request, voice)

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> EmbeddingsAnswer:
        """A provider's answer."""
        try:
            return _read_answer(members(body), voice)
        except WrongShape as wrong:
            raise Fault("bad_upstream", f"The answer holds no embeddings: {wrong}", reason="bad_answer",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def write_answer(self, answer: EmbeddingsAnswer, asked: EmbeddingsRequest, now: int) -> Written:
        """The answer for the client that asked *asked*, in the type it asked for. A vector of another type than that
        comes under its own name."""
        kind = asked.format
        found: dict[str, list[object]] = {}
        for vector in answer.vectors:
            name = kind if {kind, vector.format} <= {"float", "base64"} else vector.format
            found.setdefault(name, []).append(as_base64(vector) if name == "base64" else raw_of(as_array(vector)))
        written: dict[str, object] = {"id": answer.id, "embeddings": found or {kind: []}}
        texts = [one.text for one in asked.inputs if one.kind == "text"]
        if texts:
            written["texts"] = texts
        billed = {"input_tokens": answer.usage.input if answer.usage is not None else 0}
        written["meta"] = {"api_version": {"version": "2"}, "billed_units": billed}
        written["response_type"] = "embeddings_by_type"
        losses = () if answer.extra is None else tuple([name for name, value in answer.extra.members if value])
        return Written(encode(written), losses)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        body = {"message": fault.detail or CODES[fault.code].title}
        if request_id:
            body["id"] = request_id
        return Written(encode(body), status=fault.status)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        words, message = error_words(body)
        return upstream_fault(401 if status == 498 else status, words, message, fields, now)

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model, False)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        try:
            return _usage(members(body).get("meta", b""), voice)
        except WrongShape:
            return None


def _read_request(told: dict[str, Raw]) -> EmbeddingsRequest:
    for name in [name for name, value in told.items() if value == NULL]:
        del told[name]
    inputs = [
        *[EmbeddingInput(text=text) for text in strings(told.pop("texts", b"[]"), "texts")],
        *[EmbeddingInput(kind="image", image=url) for url in strings(told.pop("images", b"[]"), "images")],
        *[_read_input(raw, f"inputs[{at}]") for at, raw in enumerate(items(told.pop("inputs", b"[]"), "inputs"))],
    ]
    if not inputs or len(inputs) > MOST_INPUTS:
        raise WrongShape("texts", f"1 to {MOST_INPUTS} texts, images or inputs")
    word = take_string(told, "input_type", "body")
    if word and word not in _PURPOSES:
        raise WrongShape("input_type", "search_document, search_query, classification, clustering or image")
    kinds = strings(told.pop("embedding_types", b"[]"), "embedding_types")
    for kind in kinds:
        if kind not in _FORMATS:
            raise WrongShape("embedding_types", "of float, int8, uint8, binary, ubinary and base64")
    cut = take_string(told, "truncate", "body")
    rest: list[tuple[str, Raw]] = []
    if len(kinds) > 1:
        rest.append(("embedding_types", encode(kinds)))
    if cut == "START":
        rest.append(("truncate", encode(cut)))
    elif cut not in ("", "END", "NONE"):
        raise WrongShape("truncate", "NONE, START or END")
    options = told.pop("provider_options", None)
    dimensions = integer(told.pop("output_dimension"), "output_dimension") if "output_dimension" in told else 0
    return EmbeddingsRequest(
        model=string(told.pop("model", b""), "model"),
        inputs=tuple(inputs),
        dimensions=dimensions,
        purpose=_PURPOSES.get(word, ""),
        format=_FORMATS[kinds[0]] if kinds else "float",
        truncate=None if not cut else cut != "NONE",
        options={} if options is None else read_options(options),
        extra=Extra(NAME, (*rest, *told.items())),
    )


def _read_input(raw: Raw, path: str) -> EmbeddingInput:
    """One input of several parts: its texts, or its one picture."""
    texts: list[str] = []
    images: list[str] = []
    for at, part in enumerate(items(members(raw, path).get("content", b""), f"{path}.content")):
        place = f"{path}.content[{at}]"
        one = members(part, place)
        kind = take_string(one, "type", place)
        if kind == "text":
            texts.append(take_string(one, "text", place))
        elif kind == "image_url":
            images.append(take_string(members(one.get("image_url", b""), f"{place}.image_url"), "url", place))
        else:
            raise WrongShape(f"{place}.type", "text or image_url")
    if len(images) > 1 or (images and texts) or not (images or texts):
        raise WrongShape(f"{path}.content", "texts, or one picture")
    return EmbeddingInput(kind="image", image=images[0]) if images else EmbeddingInput(text="\n".join(texts))


def _write_request(request: EmbeddingsRequest, voice: Voice) -> Outgoing:
    losses: list[str] = []
    texts: list[str] = []
    images: list[str] = []
    for at, one in enumerate(request.inputs):
        if one.kind == "text":
            texts.append(one.text)
        elif one.kind == "image":
            images.append(one.image)
        else:
            losses.append(f"input[{at}].tokens")
        if one.title:
            losses.append(f"input[{at}].title")
    body: dict[str, object] = {"model": voice.model or request.model}
    if texts and images:
        body["inputs"] = [_content(one) for one in request.inputs if one.kind != "tokens"]
    elif images:
        body["images"] = images
    else:
        body["texts"] = texts
    if images and not texts:
        body["input_type"] = "image"
    else:
        body["input_type"] = _INPUT_TYPES.get(request.purpose, "search_document")
        if request.purpose in _INEXACT:
            losses.append("purpose")
    own = request.extra is not None and request.extra.dialect == NAME
    body["embedding_types"] = [request.format]
    if request.dimensions:
        body["output_dimension"] = request.dimensions
    if request.truncate is not None:
        body["truncate"] = "END" if request.truncate else "NONE"
    if request.user:
        losses.append("user")
    if request.extra is not None:
        for name, value in request.extra.members:
            if name == "embedding_types" and own:
                losses.append(name)
            elif value and (own or name in voice.accepts):
                body[name] = raw_of(value)
            elif value:
                losses.append(name)
    losses += merge_options(body, request.options, voice.addressed)
    return Outgoing(encode(body), tuple(dict.fromkeys(losses)))


def _content(one: EmbeddingInput) -> dict[str, object]:
    if one.kind == "image":
        return {"content": [{"type": "image_url", "image_url": {"url": one.image}}]}
    return {"content": [{"type": "text", "text": one.text}]}


def _read_answer(found: dict[str, Raw], voice: Voice) -> EmbeddingsAnswer:
    told = members(found.get("embeddings", b""), "embeddings")
    vectors: list[Vector] = []
    for name, format in _FORMATS.items():
        raw = told.get(name, NULL)
        if raw == NULL:
            continue
        for at, value in enumerate(items(raw, f"embeddings.{name}")):
            if format == "base64" and is_string(value):
                value = string(value, f"embeddings.{name}[{at}]").encode()
            elif format == "base64" or not is_array(value):
                raise WrongShape(f"embeddings.{name}[{at}]", "a vector")
            vectors.append(Vector(at, value, format))
        break
    else:
        raise WrongShape("embeddings", "vectors of a known type")
    id = found.get("id", NULL)
    return EmbeddingsAnswer(
        model=voice.model, id=string(id, "id") if is_string(id) else "", vectors=tuple(vectors),
        usage=_usage(found.get("meta", b""), voice),
    )  # fmt: skip


def _usage(meta: Raw, voice: Voice) -> Usage | None:
    return read_usage(meta, voice.usage) if is_object(meta) else None
