"""Ollama's ``POST /api/embed`` (LLM 2, 6): requests, answers and faults, read and written on either side.

The neutral form is ``exchange/embeddings``; there are no streams. Vectors are arrays of numbers, and nothing else.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tidegate.exchange.chat import Extra, Raw, Usage
from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Vector
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.rules.error_object import error_words
from tidegate.rules.losses import put_extras
from tidegate.rules.ollama_messages import read_usage
from tidegate.rules.ollama_tap import spliced
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.rules.vectors import as_array
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    flag,
    integer,
    is_array,
    is_string,
    items,
    members,
    raw_of,
    string,
    strings,
)

NAME: Final = "ollama_embeddings"
MOST_INPUTS: Final = 100_000
"""Inputs of one call: a bound for hostile bodies; targets have far smaller ones."""


class OllamaEmbeddings:
    """The dialect. Has no state."""

    name = NAME
    framing: Framing = "ndjson"
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
        """The answer for the client that asked *asked*."""
        written: dict[str, object] = {
            "model": answer.model or asked.model,
            "embeddings": [raw_of(as_array(vector)) for vector in answer.vectors],
        }
        if answer.usage is not None:
            written["prompt_eval_count"] = answer.usage.input
        losses = () if answer.extra is None else tuple([name for name, value in answer.extra.members if value])
        return Written(encode(written), losses)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        fields = (("x-request-id", request_id),) if request_id else ()
        return Written(encode({"error": fault.detail or CODES[fault.code].title}), status=fault.status, fields=fields)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        words, message = error_words(body)
        return upstream_fault(status, words, message, fields, now)

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        return spliced(body, model)

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        try:
            found = members(body)
        except WrongShape:
            return None
        return read_usage(found, voice.usage)


def _read_request(told: dict[str, Raw]) -> EmbeddingsRequest:
    for name in [name for name, value in told.items() if value == NULL]:
        del told[name]
    value = told.pop("input", b"")
    single = is_string(value)
    texts = [string(value, "input")] if single else strings(value, "input")
    if len(texts) > MOST_INPUTS:
        raise WrongShape("input", "shorter")
    addressed = told.pop("provider_options", None)
    return EmbeddingsRequest(
        model=string(told.pop("model", b""), "model"),
        inputs=tuple([EmbeddingInput(text=text) for text in texts]),
        dimensions=integer(told.pop("dimensions"), "dimensions") if "dimensions" in told else 0,
        truncate=flag(told.pop("truncate"), "truncate") if "truncate" in told else None,
        single=single,
        options={} if addressed is None else read_options(addressed),
        extra=Extra(NAME, tuple(told.items())),
    )


def _write_request(request: EmbeddingsRequest, voice: Voice) -> Outgoing:
    losses: list[str] = []
    texts: list[str] = []
    for at, one in enumerate(request.inputs):
        if one.kind == "text":
            texts.append(one.text)
        else:
            losses.append(f"input[{at}].{one.kind}")
        if one.title:
            losses.append(f"input[{at}].title")
    body: dict[str, object] = {
        "model": voice.model or request.model,
        "input": texts[0] if request.single and len(texts) == 1 else texts,
    }
    if request.dimensions:
        body["dimensions"] = request.dimensions
    if request.truncate is not None:
        body["truncate"] = request.truncate
    if request.format not in ("float", "base64"):  # base64 is made of the numbers on the way back
        losses.append("format")
    if request.purpose:
        losses.append("purpose")
    if request.user:
        losses.append("user")
    losses += put_extras(body, request.extra, NAME, voice.accepts)
    losses += merge_options(body, request.options, voice.addressed)
    return Outgoing(encode(body), tuple(dict.fromkeys(losses)))


def _read_answer(found: dict[str, Raw], voice: Voice) -> EmbeddingsAnswer:
    vectors: list[Vector] = []
    for at, value in enumerate(items(found.get("embeddings", b""), "embeddings")):
        if not is_array(value):
            raise WrongShape(f"embeddings[{at}]", "an array")
        vectors.append(Vector(at, value))
    model = found.get("model", NULL)
    return EmbeddingsAnswer(
        model=string(model, "model") if is_string(model) else voice.model, vectors=tuple(vectors),
        usage=read_usage(found, voice.usage),
    )  # fmt: skip
