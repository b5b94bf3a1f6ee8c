"""The goldens against the types of the vendors' own SDKs: every request is one they could have sent, every answer and
event one they read, without a member they do not know. What is not installed is not asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest

from dialects.golden_form import GOLDENS, features
from dialects.golden_types import extra_members, faults_of

Check = Callable[[Any], list[str]]

MADE_UP = ("provider_options", "unknown_members")
"""Features whose point is a member that no type has."""


def goldens(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for feature in features():
        yield feature, json.loads((GOLDENS / feature / f"{name}.json").read_text("utf-8"))


def strangers(name: str, request: Check, answer: Check, event: Callable[[str, Any], list[str]]) -> dict[str, list[str]]:
    """Feature -> what the types do not know."""
    found: dict[str, set[str]] = {}
    for feature, golden in goldens(name):
        told: list[str] = []
        if "request" in golden and feature not in MADE_UP:
            told += request(golden["request"])
        if "answer" in golden and "answer_status" not in golden:
            told += answer(golden["answer"])
        for kind, data in golden.get("stream", []):
            told += event(kind, data)
        if told:
            found.setdefault(feature, set()).update(told)
    return {feature: sorted(told) for feature, told in found.items()}


def model(kind: Any) -> Check:
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind)
    return lambda body: extra_members(adapter.validate_python(body))


def test_openai_chat_says_what_openai_knows_and_what_its_kin_added() -> None:
    """Thoughts, their seals and annotations of a stream have no type of OpenAI's: LLM 5.6 says where they go."""
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    chunk = model(ChatCompletionChunk)
    found = strangers(
        "openai_chat",
        lambda body: faults_of(CompletionCreateParamsNonStreaming, body),
        model(ChatCompletion),
        lambda kind, data: [] if data == "[DONE]" or kind == "error" else chunk(data),
    )
    message, delta = ".choices[0].message.", ".choices[0].delta."
    assert found == {
        "call_signed": [
            delta + "tool_calls[0].extra_content", message + "tool_calls[0].extra_content",
            ".messages[1].tool_calls[0].extra_content is unknown",
        ],
        "citations": [delta + "annotations"],
        "thinking_sealed": [delta + "reasoning_details", message + "reasoning_details"],
        "thinking_signed": [
            delta + "reasoning_content", delta + "reasoning_details", message + "reasoning_content",
            message + "reasoning_details",
        ],
    }  # fmt: skip


def test_openai_responses_says_what_openai_knows() -> None:
    """``store`` and the name in ``function_call_arguments.done`` are on the wire and not in every version's types."""
    from openai.types.responses import Response, ResponseStreamEvent
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    event = model(ResponseStreamEvent)
    found = strangers(
        "openai_responses",
        lambda body: faults_of(ResponseCreateParamsNonStreaming, body),
        model(Response),
        lambda kind, data: event(data),
    )
    assert {told for members in found.values() for told in members} <= {".store", ".response.store", ".name"}


def test_anthropic_messages_says_what_anthropic_knows() -> None:
    """The seal of another vendor's call stands on the block; the last usage of a stream is told in full."""
    from anthropic.types import Message, RawMessageStreamEvent
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    event = model(RawMessageStreamEvent)
    found = strangers(
        "anthropic_messages",
        lambda body: faults_of(MessageCreateParamsNonStreaming, body),
        model(Message),
        lambda kind, data: [] if kind in ("error", "ping") else event(data),
    )
    assert found == {
        "call_signed": [".content[0].signature", ".content_block.signature"],
        "usage_in_full": [".usage.cache_creation", ".usage.service_tier"],
    }


def test_gemini_generate_says_what_google_knows() -> None:
    """Its types refuse what they do not know. ``store`` is younger than they are."""
    from google.genai import types

    class Request(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        contents: list[types.Content]
        systemInstruction: types.Content | None = None
        generationConfig: types.GenerationConfig | None = None
        tools: list[types.Tool] = []
        toolConfig: types.ToolConfig | None = None
        labels: dict[str, str] = {}
        serviceTier: types.ServiceTier | None = None
        store: bool | None = None

    answer = model(types.GenerateContentResponse)
    assert strangers("gemini_generate", model(Request), answer, lambda kind, data: answer(data)) == {}


def test_bedrock_converse_says_what_aws_knows() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    validate = pytest.importorskip("botocore.validate")
    service = session.get_service_model("bedrock-runtime")
    converse = service.operation_model("Converse")
    events = service.operation_model("ConverseStream").output_shape.members["stream"].members

    def request(body: Any) -> list[str]:
        report = validate.ParamValidator().validate({**body, "modelId": "m"}, converse.input_shape)
        return [report.generate_report()] if report.has_errors() else _outside(converse.input_shape, body)

    def event(kind: str, data: Any) -> list[str]:
        return [] if kind.startswith("exception:") else _outside(events[kind], data)

    assert strangers("bedrock_converse", request, lambda body: _outside(converse.output_shape, body), event) == {}


def _outside(shape: Any, value: Any, path: str = "") -> list[str]:
    """Members and words of *value* that *shape* does not have."""
    if shape.type_name == "structure" and not shape.is_document_type:
        return [
            told
            for name, one in value.items()
            for told in (
                _outside(shape.members[name], one, f"{path}.{name}") if name in shape.members else [f"{path}.{name}"]
            )
        ]
    if shape.type_name == "list":
        return [told for one in value for told in _outside(shape.member, one, path + "[]")]
    if shape.type_name == "string" and shape.enum and value not in shape.enum:
        return [f"{path} = {value}"]
    return []


def test_cohere_chat_says_what_cohere_knows() -> None:
    """The empty lists of a stream's first event are on the wire and not in the types."""
    cohere = pytest.importorskip("cohere")
    message, tool = model(cohere.ChatMessageV2), model(cohere.ToolV2)
    event = model(cohere.V2ChatStreamResponse)

    def request(body: Any) -> list[str]:
        told = [told for one in body["messages"] for told in message(one)]
        return told + [told for one in body.get("tools", []) for told in tool(one)]

    found = strangers(
        "cohere_chat", request, model(cohere.V2ChatResponse), lambda kind, data: [] if data == "[DONE]" else event(data)
    )
    start = [f".delta.message.{name}" for name in ("citations", "content", "tool_calls", "tool_plan")]
    assert {tuple(told) for told in found.values()} == {tuple(start)}


def test_ollama_chat_says_what_ollama_knows() -> None:
    """Its client keeps of a call's id and of a schema only what it names: nothing in an answer is refused."""
    types = pytest.importorskip("ollama._types")
    answer = model(types.ChatResponse)

    def event(kind: str, data: Any) -> list[str]:
        return [] if "error" in data else answer(data)

    assert strangers("ollama_chat", model(types.ChatRequest), answer, event) == {}
