"""What vendors' servers say, in every dialect: whole answers, events of streams, faults. Written from the vendors'
descriptions and judged by their own SDKs (``test_fake_provider``); nothing here imports the gateway.

One script, ``Said``, can be told by each ``Shape``. Every piece of text, thought or arguments is one output token, so a
stream that breaks off is billed by what had been said.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

INPUT: Final = 11
"""Tokens that any input counts as."""
PIECES: Final = ("Hello", ", wörld", " 🌍", " data: [DONE]\n\n", "data: {}", " 你好", ".")
"""The usual text: multi-byte characters, and what would be an event if somebody forgot to escape."""
TEXT: Final = "".join(PIECES)
CREATED: Final = 1_790_000_000


class Call(NamedTuple):
    """A tool call; its arguments in the pieces that a stream sends."""

    id: str
    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


WEATHER: Final = (
    Call("call_a1", "get_weather", ('{"city"', ': "Paris"}')),
    Call("call_b2", "get_weather", ('{"city": "Z', "ürich ", '🏔"}')),
)
"""Two calls at once."""


@dataclass
class Said:
    """What is answered. ``usage``: "" the truth, or ``missing``, ``null``, ``negative``, ``huge``."""

    id: str
    model: str
    pieces: tuple[str, ...] = PIECES
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    stop: str = "stop"
    input: int = INPUT
    usage: str = ""
    mistral: bool = False
    """As Mistral streams chat: whole calls, and usage unasked in the last chunk."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output(self) -> int:
        return len(self.pieces) + len(self.thoughts) + sum(len(call.pieces) for call in self.calls)

    def counts(self) -> tuple[int, int]:
        """(input, output) as told, which is not always as it was."""
        if self.usage == "negative":
            return self.input, -self.output
        if self.usage == "huge":
            return 10**15, 10**15
        return self.input, self.output

    def told(self, target: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
        """*target* with the usage *value* under *name*, or without."""
        if self.usage == "null":
            target[name] = None
        elif self.usage != "missing":
            target[name] = value
        return target


@dataclass
class Asked:
    """What a request asks for."""

    model: str
    stream: bool = False
    tools: bool = False
    results: bool = False
    usage: bool = True
    """Whether the client wants usage in its stream."""
    body: dict[str, Any] = field(default_factory=dict)


class Piece(NamedTuple):
    """Bytes of a stream, and the output tokens that are said with them."""

    data: bytes
    tokens: int = 0


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value: Any, event: str = "") -> bytes:
    named = f"event: {event}\n".encode() if event else b""
    return named + b"data: " + (value if isinstance(value, bytes) else compact(value)) + b"\n\n"


class Shape:
    """One dialect, as a server speaks it."""

    name = ""
    content_type = "application/json"
    stream_type = "text/event-stream; charset=utf-8"
    opens = 0
    """Output tokens that the first event of a stream bills already, together with the input; 0: nothing is told."""

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        """Read a request."""
        messages = body.get("messages") or []
        roles = [message.get("role") for message in messages if isinstance(message, dict)]
        return Asked(
            str(body.get("model", "")), bool(body.get("stream")), bool(body.get("tools")), "tool" in roles, body=body
        )

    def whole(self, said: Said) -> bytes:
        raise NotImplementedError

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        raise NotImplementedError

    def error(self, status: int, text: str) -> bytes:
        raise NotImplementedError

    def error_event(self, text: str) -> bytes:
        """A fault that comes after the status line."""
        raise NotImplementedError

    def whole_error(self, text: str) -> bytes:
        """A fault in a body whose status says 200."""
        return self.error(500, text)

    def fields(self, said: Said) -> list[tuple[str, str]]:
        """Fields of an answer."""
        return [("x-request-id", said.id)]


# -- OpenAI: chat ------------------------------------------------------------------------------------------------------

OPENAI_TYPES: Final = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
OPENAI_CODES: Final = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class OpenaiChat(Shape):
    name = "openai_chat"

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        asked = super().asked(path, body)
        asked.usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return asked

    def usage(self, said: Said) -> dict[str, Any]:
        read, written = said.counts()
        return {
            "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": len(said.thoughts), "audio_tokens": 0,
                                          "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        }  # fmt: skip

    def _stop(self, said: Said) -> str:
        return {"tools": "tool_calls"}.get(said.stop, said.stop)

    def whole(self, said: Said) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
        if said.thoughts:
            message["reasoning_content"] = "".join(said.thoughts)
        if said.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in said.calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._stop(said)}
        answer = {
            "id": said.id, "object": "chat.completion", "created": CREATED, "model": said.model, "choices": [choice],
            "service_tier": "default", "system_fingerprint": "fp_1",
        }  # fmt: skip
        return compact(said.told(answer, "usage", self.usage(said)))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        head = {"id": said.id, "object": "chat.completion.chunk", "created": CREATED, "model": said.model}

        def chunk(delta: dict[str, Any], tokens: int = 0, finish: str | None = None) -> Piece:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            more = {"usage": None} if asked.usage else {}
            return Piece(sse({**head, "choices": [choice], **more}), tokens)

        pieces = [chunk({"role": "assistant", "content": "", "refusal": None})]
        pieces += [chunk({"reasoning_content": text}, 1) for text in said.thoughts]
        pieces += [chunk({"content": text}, 1) for text in said.pieces]
        if said.mistral:
            return [*pieces, *self._as_mistral(said, head)]
        for index, call in enumerate(said.calls):
            start = {"name": call.name, "arguments": ""}
            pieces.append(
                chunk({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": start}]})
            )
            pieces += [
                chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]}, 1) for text in call.pieces
            ]
        pieces.append(chunk({}, finish=self._stop(said)))
        if asked.usage and said.usage != "missing":
            pieces.append(Piece(sse(said.told({**head, "choices": []}, "usage", self.usage(said)))))
        return [*pieces, Piece(b"data: [DONE]\n\n")]

    def _as_mistral(self, said: Said, head: dict[str, Any]) -> list[Piece]:
        """The rest of a stream, in its manner."""
        calls = [
            {
                "index": n,
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for n, call in enumerate(said.calls)
        ]
        delta = {"content": "", "tool_calls": calls} if calls else {"content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": self._stop(said)}
        last = said.told({**head, "choices": [choice]}, "usage", self.usage(said))
        return [Piece(sse(last), sum(len(call.pieces) for call in said.calls)), Piece(b"data: [DONE]\n\n")]

    def error(self, status: int, text: str) -> bytes:
        kind = OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return compact({"error": {"message": text, "type": kind, "param": None, "code": OPENAI_CODES.get(status)}})

    def error_event(self, text: str) -> bytes:
        return sse(self.error(500, text))


class OpenaiCompletions(OpenaiChat):
    name = "openai_completions"

    def _choice(self, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}

    def whole(self, said: Said) -> bytes:
        answer = {"id": said.id, "object": "text_completion", "created": CREATED, "model": said.model,
                  "choices": [self._choice(said.text, said.stop)]}  # fmt: skip
        return compact(said.told(answer, "usage", self.usage(said)))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        head = {"id": said.id, "object": "text_completion", "created": CREATED, "model": said.model}
        pieces = [Piece(sse({**head, "choices": [self._choice(text, None)]}), 1) for text in said.pieces]
        pieces.append(Piece(sse({**head, "choices": [self._choice("", said.stop)]})))
        if asked.usage:
            pieces.append(Piece(sse(said.told({**head, "choices": []}, "usage", self.usage(said)))))
        return [*pieces, Piece(b"data: [DONE]\n\n")]


class OpenaiEmbeddings(OpenaiChat):
    name = "openai_embeddings"

    def answer(self, said: Said, asked: Asked) -> bytes:
        """One vector for each input, the first number of which says whose it is."""
        body = asked.body
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if inputs and isinstance(inputs[0], int):
            inputs = [inputs]
        data = []
        for index in range(len(inputs)):
            numbers = [float(index), 0.5, -0.25, 1.0]
            packed: Any = numbers
            if body.get("encoding_format") == "base64":
                packed = base64.b64encode(struct.pack("<4f", *numbers)).decode()
            data.append({"object": "embedding", "index": index, "embedding": packed})
        answer = {"object": "list", "data": data, "model": said.model}
        usage = {"prompt_tokens": said.counts()[0], "total_tokens": said.counts()[0]}
        return compact(said.told(answer, "usage", usage))


# -- OpenAI: responses -------------------------------------------------------------------------------------------------


class OpenaiResponses(OpenaiChat):
    name = "openai_responses"

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        given = body.get("input")
        items = given if isinstance(given, list) else []
        results = any(isinstance(item, dict) and item.get("type") == "function_call_output" for item in items)
        return Asked(str(body.get("model", "")), bool(body.get("stream")), bool(body.get("tools")), results, body=body)

    def usage(self, said: Said) -> dict[str, Any]:
        read, written = said.counts()
        return {
            "input_tokens": read, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written, "output_tokens_details": {"reasoning_tokens": len(said.thoughts)},
            "total_tokens": read + written,
        }  # fmt: skip

    def _items(self, said: Said) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        if said.thoughts:
            summary = [{"type": "summary_text", "text": "".join(said.thoughts)}]
            items.append({"id": f"rs_{said.id}", "type": "reasoning", "summary": summary})
        if said.pieces:
            content = [{"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}]
            items.append({"id": f"msg_{said.id}", "type": "message", "role": "assistant", "status": "completed",
                          "content": content})  # fmt: skip
        for number, call in enumerate(said.calls):
            items.append({"id": f"fc_{number}_{said.id}", "type": "function_call", "status": "completed",
                          "call_id": call.id, "name": call.name, "arguments": call.arguments})  # fmt: skip
        return items

    def _response(self, said: Said, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": said.id, "object": "response", "created_at": CREATED, "status": status, "model": said.model,
            "output": output, "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [],
            "max_output_tokens": None, "previous_response_id": None, "truncation": "disabled", "store": False,
            "reasoning": {"effort": None, "summary": None}, "text": {"format": {"type": "text"}},
        }  # fmt: skip

    def whole(self, said: Said) -> bytes:
        return compact(said.told(self._response(said, "completed", self._items(said)), "usage", self.usage(said)))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        pieces: list[Piece] = []

        def event(kind: str, tokens: int = 0, **members: Any) -> None:
            pieces.append(Piece(sse({"type": kind, "sequence_number": len(pieces), **members}, kind), tokens))

        def empty(item: dict[str, Any]) -> dict[str, Any]:
            name = {"reasoning": "summary", "message": "content"}.get(item["type"])
            return {**item, name: []} if name else {**item, "arguments": "", "status": "in_progress"}

        event("response.created", response=self._response(said, "in_progress", []))
        event("response.in_progress", response=self._response(said, "in_progress", []))
        items = self._items(said)
        calls = iter(said.calls)
        for at, item in enumerate(items):
            where = {"item_id": item["id"], "output_index": at}
            event("response.output_item.added", output_index=at, item=empty(item))
            if item["type"] == "reasoning":
                part = item["summary"][0]
                event("response.reasoning_summary_part.added", **where, summary_index=0, part={**part, "text": ""})
                for text in said.thoughts:
                    event("response.reasoning_summary_text.delta", 1, **where, summary_index=0, delta=text)
                event("response.reasoning_summary_text.done", **where, summary_index=0, text=part["text"])
                event("response.reasoning_summary_part.done", **where, summary_index=0, part=part)
            elif item["type"] == "message":
                part = item["content"][0]
                event("response.content_part.added", **where, content_index=0, part={**part, "text": ""})
                for text in said.pieces:
                    event("response.output_text.delta", 1, **where, content_index=0, delta=text, logprobs=[])
                event("response.output_text.done", **where, content_index=0, text=part["text"], logprobs=[])
                event("response.content_part.done", **where, content_index=0, part=part)
            else:
                for text in next(calls).pieces:
                    event("response.function_call_arguments.delta", 1, **where, delta=text)
                event("response.function_call_arguments.done", **where, arguments=item["arguments"], name=item["name"])
            event("response.output_item.done", output_index=at, item=item)
        event("response.completed", response=said.told(self._response(said, "completed", items), "usage",
                                                       self.usage(said)))  # fmt: skip
        return pieces

    def error_event(self, text: str) -> bytes:
        return sse({"type": "error", "sequence_number": 99, "code": "server_error", "message": text, "param": None},
                   "error")  # fmt: skip


# -- Anthropic ---------------------------------------------------------------------------------------------------------

ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    429: "rate_limit_error", 529: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


class AnthropicMessages(Shape):
    name = "anthropic_messages"
    opens = 1

    def fields(self, said: Said) -> list[tuple[str, str]]:
        return [("request-id", said.id)]

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        asked = super().asked(path, body)
        for message in body.get("messages", []):
            content = message.get("content")
            if isinstance(content, list):
                asked.results = asked.results or any(block.get("type") == "tool_result" for block in content)
        return asked

    def _usage(self, said: Said, written: int) -> dict[str, Any]:
        return {"input_tokens": said.counts()[0], "output_tokens": written, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0, "service_tier": "standard"}  # fmt: skip

    def _stop(self, said: Said) -> str:
        return {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}[said.stop]

    def whole(self, said: Said) -> bytes:
        content: list[dict[str, Any]] = []
        if said.thoughts:
            content.append({"type": "thinking", "thinking": "".join(said.thoughts), "signature": "c2lnbmVk"})
        if said.pieces:
            content.append({"type": "text", "text": said.text, "citations": None})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
            for call in said.calls
        ]
        answer = {"id": said.id, "type": "message", "role": "assistant", "model": said.model, "content": content,
                  "stop_reason": self._stop(said), "stop_sequence": None}  # fmt: skip
        return compact(said.told(answer, "usage", self._usage(said, said.counts()[1])))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        pieces: list[Piece] = []
        index = 0

        def event(kind: str, tokens: int = 0, **members: Any) -> None:
            pieces.append(Piece(sse({"type": kind, **members}, kind), tokens))

        def block(start: dict[str, Any], deltas: list[dict[str, Any]], tokens: int = 1) -> None:
            nonlocal index
            event("content_block_start", index=index, content_block=start)
            for delta in deltas:
                event("content_block_delta", 0 if delta["type"] == "signature_delta" else 1, index=index, delta=delta)
            event("content_block_stop", index=index)
            index += 1

        message: dict[str, Any] = {"id": said.id, "type": "message", "role": "assistant", "model": said.model,
                                   "content": [], "stop_reason": None, "stop_sequence": None}  # fmt: skip
        usage = self._usage(said, self.opens)
        event("message_start", message=said.told(message, "usage", usage) if said.usage != "null" else message)
        event("ping")
        if said.thoughts:
            deltas = [{"type": "thinking_delta", "thinking": text} for text in said.thoughts]
            block({"type": "thinking", "thinking": "", "signature": ""},
                  [*deltas, {"type": "signature_delta", "signature": "c2lnbmVk"}])  # fmt: skip
        if said.pieces:
            block({"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in said.pieces])
        for call in said.calls:
            deltas = [{"type": "input_json_delta", "partial_json": text} for text in call.pieces]
            block({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, deltas)
        delta: dict[str, Any] = {"delta": {"stop_reason": self._stop(said), "stop_sequence": None}}
        event("message_delta", **said.told(delta, "usage", {"output_tokens": said.counts()[1]}))
        event("message_stop")
        return pieces

    def error(self, status: int, text: str) -> bytes:
        kind = ANTHROPIC_TYPES.get(status, "api_error")
        return compact({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"})

    def error_event(self, text: str) -> bytes:
        return sse({"type": "error", "error": {"type": "overloaded_error", "message": text}}, "error")


# -- Gemini ------------------------------------------------------------------------------------------------------------

GOOGLE: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


class GeminiGenerate(Shape):
    name = "gemini_generate"
    content_type = "application/json; charset=UTF-8"
    stream_type = "text/event-stream"

    def fields(self, said: Said) -> list[tuple[str, str]]:
        return []

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        name = path.partition("?")[0].rpartition("/models/")[2].replace("%3A", ":").replace("%2F", "/")
        model, _, action = name.rpartition(":")
        parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
        results = any("functionResponse" in part for part in parts)
        return Asked(model, action.startswith("stream"), bool(body.get("tools")), results, body=body)

    def _answer(self, said: Said, parts: list[dict[str, Any]], last: bool) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if last:
            candidate["finishReason"] = {"length": "MAX_TOKENS"}.get(said.stop, "STOP")
        answer = {"candidates": [candidate], "modelVersion": said.model, "responseId": said.id}
        read, written = said.counts()
        usage = {"promptTokenCount": read, "candidatesTokenCount": written - len(said.thoughts),
                 "thoughtsTokenCount": len(said.thoughts), "totalTokenCount": read + written}  # fmt: skip
        return said.told(answer, "usageMetadata", usage) if last else answer

    def _calls(self, said: Said) -> list[dict[str, Any]]:
        return [
            {"functionCall": {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}}
            for call in said.calls
        ]

    def whole(self, said: Said) -> bytes:
        parts: list[dict[str, Any]] = []
        if said.thoughts:
            parts.append({"text": "".join(said.thoughts), "thought": True})
        if said.pieces:
            parts.append({"text": said.text})
        return compact(self._answer(said, parts + self._calls(said), True))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        pieces = [Piece(sse(self._answer(said, [{"text": text, "thought": True}], False)), 1) for text in said.thoughts]
        pieces += [Piece(sse(self._answer(said, [{"text": text}], False)), 1) for text in said.pieces]
        for call, part in zip(said.calls, self._calls(said), strict=True):
            pieces.append(Piece(sse(self._answer(said, [part], False)), len(call.pieces)))
        return [*pieces, Piece(sse(self._answer(said, [{"text": ""}], True)))]

    def error(self, status: int, text: str) -> bytes:
        return compact({"error": {"code": status, "message": text, "status": GOOGLE.get(status, "INTERNAL")}})

    def error_event(self, text: str) -> bytes:
        return sse(self.error(503, text))


# -- Bedrock -----------------------------------------------------------------------------------------------------------


def frame(event: str, payload: dict[str, Any], kind: str = "event") -> bytes:
    """One message of ``application/vnd.amazon.eventstream``."""
    names = {":message-type": kind, ":content-type": "application/json"}
    names[":exception-type" if kind == "exception" else ":event-type"] = event
    fields = b""
    for name, value in names.items():
        fields += (
            struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        )
    body = compact(payload)
    prelude = struct.pack(">II", 16 + len(fields) + len(body), len(fields))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + fields + body
    return message + struct.pack(">I", zlib.crc32(message))


AWS_TYPES: Final = {
    400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
    408: "ModelTimeoutException", 424: "ModelErrorException", 429: "ThrottlingException",
    500: "InternalServerException", 503: "ServiceUnavailableException",
}  # fmt: skip


class BedrockConverse(Shape):
    name = "bedrock_converse"
    stream_type = "application/vnd.amazon.eventstream"

    def fields(self, said: Said) -> list[tuple[str, str]]:
        return [("x-amzn-RequestId", said.id)]

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        model, verb = path.split("/")[2:4]
        blocks = [block for message in body.get("messages", []) for block in message.get("content", [])]
        return Asked(
            model.replace("%3A", ":").replace("%2F", "/"),
            verb.startswith("converse-stream"),
            bool((body.get("toolConfig") or {}).get("tools")),
            any("toolResult" in block for block in blocks),
            body=body,
        )

    def _usage(self, said: Said) -> dict[str, Any]:
        read, written = said.counts()
        return {"inputTokens": read, "outputTokens": written, "totalTokens": read + written}

    def _stop(self, said: Said) -> str:
        return {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}[said.stop]

    def whole(self, said: Said) -> bytes:
        content: list[dict[str, Any]] = []
        if said.thoughts:
            text = {"text": "".join(said.thoughts), "signature": "c2lnbmVk"}
            content.append({"reasoningContent": {"reasoningText": text}})
        if said.pieces:
            content.append({"text": said.text})
        content += [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": json.loads(call.arguments)}}
            for call in said.calls
        ]
        answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": self._stop(said),
                  "metrics": {"latencyMs": 5}}  # fmt: skip
        return compact(said.told(answer, "usage", self._usage(said)))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        pieces = [Piece(frame("messageStart", {"role": "assistant"}))]
        index = 0

        def delta(value: dict[str, Any], tokens: int = 1) -> None:
            pieces.append(Piece(frame("contentBlockDelta", {"contentBlockIndex": index, "delta": value}), tokens))

        def stop() -> None:
            nonlocal index
            pieces.append(Piece(frame("contentBlockStop", {"contentBlockIndex": index})))
            index += 1

        if said.thoughts:
            for text in said.thoughts:
                delta({"reasoningContent": {"text": text}})
            delta({"reasoningContent": {"signature": "c2lnbmVk"}}, 0)
            stop()
        if said.pieces:
            for text in said.pieces:
                delta({"text": text})
            stop()
        for call in said.calls:
            start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
            pieces.append(Piece(frame("contentBlockStart", {"contentBlockIndex": index, "start": start})))
            for text in call.pieces:
                delta({"toolUse": {"input": text}})
            stop()
        pieces.append(Piece(frame("messageStop", {"stopReason": self._stop(said)})))
        pieces.append(Piece(frame("metadata", said.told({"metrics": {"latencyMs": 5}}, "usage", self._usage(said)))))
        return pieces

    def error(self, status: int, text: str) -> bytes:
        return compact({"message": text})

    def error_event(self, text: str) -> bytes:
        return frame("modelStreamErrorException", {"message": text}, "exception")


# -- Cohere ------------------------------------------------------------------------------------------------------------


class CohereChat(Shape):
    name = "cohere_chat"

    def fields(self, said: Said) -> list[tuple[str, str]]:
        return []

    def _usage(self, said: Said) -> dict[str, Any]:
        read, written = said.counts()
        units = {"input_tokens": read, "output_tokens": written}
        return {"billed_units": units, "tokens": units}

    def _stop(self, said: Said) -> str:
        return {"stop": "COMPLETE", "tools": "TOOL_CALL", "length": "MAX_TOKENS"}[said.stop]

    def _call(self, call: Call, arguments: str) -> dict[str, Any]:
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def whole(self, said: Said) -> bytes:
        message: dict[str, Any] = {"role": "assistant"}
        if said.pieces:
            message["content"] = [{"type": "text", "text": said.text}]
        if said.calls:
            message["tool_plan"] = "I shall ask."
            message["tool_calls"] = [self._call(call, call.arguments) for call in said.calls]
        answer = {"id": said.id, "message": message, "finish_reason": self._stop(said)}
        return compact(said.told(answer, "usage", self._usage(said)))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        pieces: list[Piece] = []

        def event(kind: str, tokens: int = 0, **members: Any) -> None:
            pieces.append(Piece(sse({"type": kind, **members}, kind), tokens))

        empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        event("message-start", id=said.id, delta={"message": empty})
        index = 0
        if said.pieces:
            event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
            for text in said.pieces:
                event("content-delta", 1, index=0, delta={"message": {"content": {"text": text}}})
            event("content-end", index=0)
        if said.calls:
            event("tool-plan-delta", delta={"message": {"tool_plan": "I shall ask."}})
        for index, call in enumerate(said.calls):
            event("tool-call-start", index=index, delta={"message": {"tool_calls": self._call(call, "")}})
            for text in call.pieces:
                event("tool-call-delta", 1, index=index,
                      delta={"message": {"tool_calls": {"function": {"arguments": text}}}})  # fmt: skip
            event("tool-call-end", index=index)
        end: dict[str, Any] = {"finish_reason": self._stop(said)}
        event("message-end", delta=said.told(end, "usage", self._usage(said)))
        return [*pieces, Piece(b"data: [DONE]\n\n")]

    def error(self, status: int, text: str) -> bytes:
        return compact({"message": text, "id": "err-1"})

    def error_event(self, text: str) -> bytes:
        return sse({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": text}}, "message-end")


# -- Ollama ------------------------------------------------------------------------------------------------------------


class OllamaChat(Shape):
    name = "ollama_chat"
    stream_type = "application/x-ndjson"

    def fields(self, said: Said) -> list[tuple[str, str]]:
        return []

    def asked(self, path: str, body: dict[str, Any]) -> Asked:
        asked = super().asked(path, body)
        asked.stream = body.get("stream", True)
        return asked

    def _answer(self, said: Said, message: dict[str, Any], done: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"model": said.model, "created_at": "2026-09-21T14:13:20.123456Z",
                                  "message": {"role": "assistant", "content": "", **message}, "done": done}  # fmt: skip
        if done:
            answer |= {"done_reason": {"tools": "stop"}.get(said.stop, said.stop), "total_duration": 5_000_000,
                       "load_duration": 1, "prompt_eval_duration": 2, "eval_duration": 3}  # fmt: skip
            read, written = said.counts()
            said.told(answer, "prompt_eval_count", read)
            said.told(answer, "eval_count", written)
        return answer

    def _call(self, call: Call) -> dict[str, Any]:
        return {"function": {"name": call.name, "arguments": json.loads(call.arguments)}}

    def whole(self, said: Said) -> bytes:
        message: dict[str, Any] = {"content": said.text}
        if said.thoughts:
            message["thinking"] = "".join(said.thoughts)
        if said.calls:
            message["tool_calls"] = [self._call(call) for call in said.calls]
        return compact(self._answer(said, message, True))

    def stream(self, said: Said, asked: Asked) -> list[Piece]:
        def line(message: dict[str, Any], tokens: int, done: bool = False) -> Piece:
            return Piece(compact(self._answer(said, message, done)) + b"\n", tokens)

        pieces = [line({"thinking": text}, 1) for text in said.thoughts]
        pieces += [line({"content": text}, 1) for text in said.pieces]
        pieces += [line({"tool_calls": [self._call(call)]}, len(call.pieces)) for call in said.calls]
        return [*pieces, line({}, 0, True)]

    def error(self, status: int, text: str) -> bytes:
        return compact({"error": text})

    def error_event(self, text: str) -> bytes:
        return self.error(500, text) + b"\n"


CHAT: Final = OpenaiChat()
COMPLETIONS: Final = OpenaiCompletions()
EMBEDDINGS: Final = OpenaiEmbeddings()
RESPONSES: Final = OpenaiResponses()
MESSAGES: Final = AnthropicMessages()
GENERATE: Final = GeminiGenerate()
CONVERSE: Final = BedrockConverse()
COHERE: Final = CohereChat()
OLLAMA: Final = OllamaChat()

GEMINI_PATH: Final = re.compile(r"/v1(beta|alpha)?/models/[^/]+(:|%3A)(streamG|g)enerateContent$")
CONVERSE_PATH: Final = re.compile(r"/model/[^/]+/converse(-stream)?$")


def shape_of(path: str) -> Shape | None:
    """Whose door *path* is; None when nobody's."""
    found = {
        "/v1/chat/completions": CHAT,
        "/v1/completions": COMPLETIONS,
        "/v1/embeddings": EMBEDDINGS,
        "/v1/responses": RESPONSES,
        "/v1/messages": MESSAGES,
        "/v2/chat": COHERE,
        "/api/chat": OLLAMA,
    }.get(path)
    if found is not None:
        return found
    if GEMINI_PATH.search(path):
        return GENERATE
    return CONVERSE if CONVERSE_PATH.search(path) else None
