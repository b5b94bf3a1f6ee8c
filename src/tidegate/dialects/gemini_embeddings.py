"""Gemini's ``embedContent`` and ``batchEmbedContents`` (LLM 2, 6): requests, answers and faults, read and written.

The neutral form is ``exchange/embeddings``; there are no streams. A client's body tells by itself which of the two it
is; a provider is always asked for a batch. Vectors pass as the bytes of their arrays.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tidegate.exchange.chat import Usage
from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Purpose, Vector
from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.rules.generate_faults import fault_body, read_refusal
from tidegate.rules.generate_parts import camel_members, take_string
from tidegate.rules.generate_usage import read_usage
from tidegate.rules.vectors import as_array
from tidegate.wire.json_object import (
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
)
from tidegate.wire.json_splice import replaced, spans

NAME: Final = "gemini_embeddings"
MOST_INPUTS: Final = 100_000
"""Inputs of one call: a bound for hostile bodies; targets have far smaller ones."""

_PURPOSES: Final[dict[str, Purpose]] = {
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
    "SEMANTIC_SIMILARITY": "similarity",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
    "CODE_RETRIEVAL_QUERY": "code",
}
_TASKS: Final[dict[str, str]] = {purpose: task for task, purpose in _PURPOSES.items()}


class GeminiEmbeddings:
    """The dialect. Has no state."""

    name = NAME
    framing: Framing = "sse"
    model_in_path = False  # it stands in the body too, and the vendor wants both to agree
    surface = "embeddings"

    def path(self, door: str, model: str, stream: bool) -> str:
        """*door* with the model and the verb of a batch."""
        return door.replace("{model}", quote(model, safe="")).replace("{action}", "batchEmbedContents")

    def read_request(self, body: bytes, hints: Hints) -> EmbeddingsRequest:
        """A client's request."""
        try:
            return _read_request(body, hints)
        except WrongShape as wrong:
            raise Fault("invalid_request", str(wrong), side=CLIENT) from None

    def write_request(self, request: EmbeddingsRequest, voice: Voice) -> Outgoing:
        """The request as *voice* must hear it: one batch."""
        return _write_request(request, voice)

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> EmbeddingsAnswer:
        """A provider's answer."""
        try:
            return _read_answer(body, voice)
        except WrongShape as wrong:
            raise Fault("bad_upstream", f"The answer holds no embeddings: {wrong}", reason="bad_answer",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def write_answer(self, answer: EmbeddingsAnswer, asked: EmbeddingsRequest, now: int) -> Written:
        """The answer for the client that asked *asked*: one vector or a batch, as it asked."""
        vectors = [{"values": raw_of(as_array(vector))} for vector in answer.vectors]
        written: dict[str, object] = {"embeddings": vectors}
        if asked.single and len(vectors) == 1:
            written = {"embedding": vectors[0]}
        if answer.usage is not None:
            written["usageMetadata"] = {"promptTokenCount": answer.usage.input}
        return Written(encode(written))

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        return Written(fault_body(fault.status, fault.code, fault.detail, fault.retry_after), status=fault.status)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        return read_refusal(status, fields, body, now)

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        """*body* with the name of *model* wherever a request of it names one."""
        found = spans(body, ("model", "requests"))
        edits: list[tuple[int, int, bytes]] = []
        if "model" in found:
            edits.append((*found["model"], encode(f"models/{model}")))
        if "requests" in found:
            start, end = found["requests"]
            if is_array(body[start:end]):
                each = [self._renamed(raw, model) for raw in items(body[start:end], "requests")]
                edits.append((start, end, b"[" + b",".join(each) + b"]"))
        return replaced(body, edits) if edits else body

    def _renamed(self, raw: bytes, model: str) -> bytes:
        place = spans(raw, ("model",)).get("model") if is_object(raw) else None
        return raw if place is None else replaced(raw, [(*place, encode(f"models/{model}"))])

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        try:
            return read_usage(members(body).get("usageMetadata", b""), voice.usage)
        except WrongShape:
            return None


def _read_request(body: bytes, hints: Hints) -> EmbeddingsRequest:
    given = members(body)
    options = given.pop("provider_options", None)
    found = camel_members(body, "")
    single = "requests" not in found
    raws = [body] if single else items(found["requests"], "requests")
    if not raws or len(raws) > MOST_INPUTS:
        raise WrongShape("requests", f"an array of 1 to {MOST_INPUTS} requests")
    inputs: list[EmbeddingInput] = []
    wishes: set[tuple[int, Purpose, bool | None]] = set()
    for at, raw in enumerate(raws):
        path = "" if single else f"requests[{at}]"
        one = camel_members(raw, path)
        text = _text(one.get("content", b""), f"{path}.content".lstrip("."))
        inputs.append(EmbeddingInput(text=text, title=take_string(one, "title", path)))
        dimensions = integer(one["outputDimensionality"], f"{path}.outputDimensionality") if (
            "outputDimensionality" in one
        ) else 0  # fmt: skip
        task = take_string(one, "taskType", path)
        truncate = None if "autoTruncate" not in one else one["autoTruncate"] == b"true"
        wishes.add((dimensions, _PURPOSES.get(task, ""), truncate))
    if len(wishes) > 1:
        raise WrongShape("requests", "of one taskType and one outputDimensionality")
    dimensions, purpose, truncate = wishes.pop()
    model = hints.model or (take_string(found, "model", "") if "model" in found else "").removeprefix("models/")
    return EmbeddingsRequest(
        model=model, inputs=tuple(inputs), dimensions=dimensions, purpose=purpose, truncate=truncate, single=single,
        options={} if options is None else read_options(options),
    )  # fmt: skip


def _text(raw: bytes, path: str) -> str:
    """The text of a content object, its parts joined."""
    if is_string(raw):
        return string(raw, path)
    content = camel_members(raw, path)
    told: list[str] = []
    for at, part in enumerate(items(content.get("parts", b"[]"), f"{path}.parts")):
        one = camel_members(part, f"{path}.parts[{at}]")
        if "text" not in one:
            raise WrongShape(f"{path}.parts[{at}]", "a text")
        told.append(string(one["text"], f"{path}.parts[{at}].text"))
    return "".join(told)


def _write_request(request: EmbeddingsRequest, voice: Voice) -> Outgoing:
    losses: list[str] = []
    model = f"models/{voice.model or request.model}"
    shared: dict[str, object] = {}
    if request.purpose:
        if "purpose" in voice.lacks:
            losses.append("purpose")
        else:
            shared["taskType"] = _TASKS[request.purpose]
    if request.dimensions:
        if "dimensions" in voice.lacks:
            losses.append("dimensions")
        else:
            shared["outputDimensionality"] = request.dimensions
    if request.truncate is not None:
        shared["autoTruncate"] = request.truncate
    if request.user:
        losses.append("user")
    if request.extra is not None:
        losses += [name for name, value in request.extra.members if value]
    written: list[dict[str, object]] = []
    for at, one in enumerate(request.inputs):
        if one.kind != "text":
            losses.append(f"input[{at}].{one.kind}")
            continue
        said: dict[str, object] = {"model": model, "content": {"parts": [{"text": one.text}]}, **shared}
        if one.title:
            said["title"] = one.title
        written.append(said)
    body: dict[str, object] = {"requests": written}
    losses += merge_options(body, request.options, voice.addressed)
    return Outgoing(encode(body), tuple(dict.fromkeys(losses)))


def _read_answer(body: bytes, voice: Voice) -> EmbeddingsAnswer:
    found = camel_members(body, "")
    raws = [found["embedding"]] if "embedding" in found else items(found.get("embeddings", b""), "embeddings")
    vectors: list[Vector] = []
    for at, raw in enumerate(raws):
        values = camel_members(raw, f"embeddings[{at}]").get("values", b"")
        if not is_array(values):
            raise WrongShape(f"embeddings[{at}].values", "an array")
        vectors.append(Vector(at, values))
    usage = read_usage(found.get("usageMetadata", b""), voice.usage)
    return EmbeddingsAnswer(model=voice.model, vectors=tuple(vectors), usage=usage)
