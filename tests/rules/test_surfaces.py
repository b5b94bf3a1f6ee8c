"""Which call a path is (LLM 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.rules.canonical import canonical_path
from tidegate.rules.surfaces import CALLS, Surface, dialect_of, framing_of, surface_of, unknown_path

CHAT = Surface("chat", "gemini_generate", "gemini-2.5-flash", False, "generateContent")


@pytest.mark.parametrize(
    ("method", "path", "fields", "wanted"),
    [
        ("POST", "/v1/chat/completions", {}, Surface("chat", "openai_chat")),
        ("POST", "/v1/responses", {}, Surface("chat", "openai_responses")),
        ("POST", "/v1/responses/input_tokens", {}, Surface("count_tokens", "openai_responses")),
        ("GET", "/v1/responses/resp_1", {}, Surface("stored", "openai_responses", path="/resp_1")),
        ("DELETE", "/v1/responses/resp_1", {}, Surface("stored", "openai_responses", path="/resp_1")),
        ("POST", "/v1/responses/resp_1/cancel", {}, Surface("stored", "openai_responses", path="/resp_1/cancel")),
        ("GET", "/v1/responses", {"upgrade": "websocket"}, Surface("socket", "openai_responses", stream=True)),
        ("POST", "/v1/completions", {}, Surface("completions", "openai_completions")),
        ("POST", "/v1/embeddings", {}, Surface("embeddings", "openai_embeddings")),
        ("POST", "/v2/embed", {}, Surface("embeddings", "cohere_embeddings")),
        ("POST", "/api/embed", {}, Surface("embeddings", "ollama_embeddings")),
        ("POST", "/v1/images/edits", {}, Surface("images_edits", "openai_chat")),
        ("POST", "/v1/audio/speech", {}, Surface("speech", "openai_chat")),
        ("POST", "/v1/messages", {"authorization": "Bearer x"}, Surface("chat", "anthropic_messages")),
        ("POST", "/v1/messages/count_tokens", {}, Surface("count_tokens", "anthropic_messages")),
        ("GET", "/v1/messages/batches/b1", {}, Surface("batches", "anthropic_messages", path="/b1")),
        ("POST", "/v1beta/models/gemini-2.5-flash:generateContent", {}, CHAT),
        ("POST", "/v1/models/gemini-2.5-flash:generateContent", {}, CHAT),
        ("POST", "/v1/models/gemini-2.5-flash%3AgenerateContent", {}, CHAT),
        ("POST", "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent", {}, CHAT),
        (
            "POST",
            "/v1beta1/projects/p/locations/eu/publishers/google/models/gemini-2.5-flash:generateContent",
            {},
            CHAT,
        ),
        (
            "POST",
            "/v1beta/models/a:b%2Fc:streamGenerateContent",
            {},
            Surface("chat", "gemini_generate", "a:b/c", True, "streamGenerateContent"),
        ),
        (
            "POST",
            "/v1beta/models/e:batchEmbedContents",
            {},
            Surface("embeddings", "gemini_embeddings", "e", path="batchEmbedContents"),
        ),
        (
            "POST",
            "/v1beta/models/g:countTokens",
            {},
            Surface("count_tokens", "gemini_generate", "g", path="countTokens"),
        ),
        ("GET", "/v1beta/models", {}, Surface("models", "gemini_generate")),
        ("GET", "/v1/models", {}, Surface("models", "openai_chat")),
        ("GET", "/v1/models", {"anthropic-version": "2023-06-01"}, Surface("models", "anthropic_messages")),
        ("GET", "/v1/models", {"x-goog-api-key": "k"}, Surface("models", "gemini_generate")),
        (
            "GET",
            "/v1/models/meta-llama%2FLlama-3:8b",
            {},
            Surface("models", "openai_chat", path="meta-llama/Llama-3:8b"),
        ),
        (
            "POST",
            "/model/arn%3Aaws%3Abedrock%3A%3A1%3Aprofile%2Fx/converse-stream",
            {},
            Surface("chat", "bedrock_converse", "arn:aws:bedrock::1:profile/x", True),
        ),
        (
            "POST",
            "/model/anthropic.claude-3:0/converse",
            {},
            Surface("chat", "bedrock_converse", "anthropic.claude-3:0", False),
        ),
        ("POST", "/v2/chat", {}, Surface("chat", "cohere_chat")),
        ("POST", "/v1/rerank", {}, Surface("rerank", "cohere_chat")),
        ("POST", "/api/chat", {}, Surface("chat", "ollama_chat")),
        ("GET", "/api/tags", {}, Surface("models", "ollama_chat")),
        ("GET", "/v1/files/file-1/content", {}, Surface("files", "openai_chat", path="/file-1/content")),
        ("POST", "/v1/files", {"anthropic-version": "x"}, Surface("files", "anthropic_messages")),
        ("GET", "/v1/realtime", {}, Surface("realtime", "openai_chat", stream=True)),
    ],
)
def test_each_path_is_its_call(method: str, path: str, fields: dict[str, str], wanted: Surface) -> None:
    assert surface_of(method, canonical_path(path)[0], fields) == wanted


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("POST", "/chat/completions", "not_found", "base URL ends in /v1"),
        ("POST", "/v1/nothing", "not_found", "No model surface"),
        ("GET", "/v1/chat/completions", "method_not_allowed", ""),
        ("POST", "/v1/models", "method_not_allowed", ""),
        ("GET", "/v1/responses", "method_not_allowed", ""),
        ("PUT", "/v1/files/f", "method_not_allowed", ""),
        ("POST", "/v1beta/models/g:deleteEverything", "not_found", ""),
        ("POST", "/v1beta/models/:generateContent", "not_found", ""),
        ("POST", "/v1beta/models/%25:x%0Ay:generateContent", "", ""),
        ("POST", "/model/m/invoke", "not_found", ""),
        ("GET", "/v1/files/a%2F..%2Fb", "", ""),
    ],
)
def test_what_nobody_serves_is_refused(method: str, path: str, code: str, words: str) -> None:
    with pytest.raises(Fault) as caught:
        surface_of(method, canonical_path(path)[0], {})
    if code:
        assert (caught.value.code, words in caught.value.detail) == (code, True)


def test_a_percent_sign_is_decoded_once() -> None:
    assert surface_of("POST", "/v1beta/models/a%253Ab:generateContent", {}).model == "a%3Ab"


@pytest.mark.parametrize(
    ("path", "fields", "dialect"),
    [
        ("/v1/nothing", {}, "openai_chat"),
        ("/v1/messages/nothing", {}, "anthropic_messages"),
        ("/v1beta/nothing", {}, "gemini_generate"),
        ("/v1/models/x%3Anothing", {}, "gemini_generate"),
        ("/v2/nothing", {}, "cohere_chat"),
        ("/api/nothing", {}, "ollama_chat"),
        ("/model/x/nothing", {}, "bedrock_converse"),
        ("/", {}, "openai_chat"),
    ],
)
def test_faults_speak_the_nearest_dialect(path: str, fields: dict[str, str], dialect: str) -> None:
    assert dialect_of(path, fields) == dialect


def test_gemini_streams_are_an_array_unless_events_are_asked_for() -> None:
    assert framing_of("gemini_generate", "sse", "") == "array"
    assert framing_of("gemini_generate", "sse", "key=1&alt=sse") == "sse"
    assert framing_of("openai_chat", "sse", "") == "sse"


def test_a_path_without_its_version_is_told_the_right_one() -> None:
    assert "/v1/messages" in unknown_path("/messages").detail
    assert all("base URL" in unknown_path(path[3:]).detail for path in CALLS if path.startswith("/v"))


@given(st.sampled_from(["GET", "POST", "DELETE"]), st.text("v1betamodl/:%2F35Ac-.", max_size=40))
def test_any_path_is_a_call_or_a_fault(method: str, path: str) -> None:
    try:
        found = surface_of(method, canonical_path("/" + path)[0], {})
    except Fault:
        return
    assert found.kind and found.dialect
