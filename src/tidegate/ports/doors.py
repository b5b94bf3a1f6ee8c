"""The doors that vendors have in common (LLM 8): what a letter of the preset tables stands for.

Providers may not import each other, so what their data shares is here.
"""

from __future__ import annotations

from typing import Final

from tidegate.ports.provider import Bearer, Door, HeaderKey, QueryKey

CHAT: Final = {"chat": Door("openai_chat", "/chat/completions")}
RESPONSES: Final = {"responses": Door("openai_responses", "/responses")}
INPUT_TOKENS: Final = {"count_tokens": Door("openai_responses", "/responses/input_tokens")}
COMPLETIONS: Final = {"completions": Door("openai_completions", "/completions")}
EMBEDDINGS: Final = {"embeddings": Door("openai_embeddings", "/embeddings")}
RERANK: Final = {"rerank": Door("", "/rerank")}
IMAGES: Final = {
    "images": Door("", "/images/generations"),
    "images_edits": Door("", "/images/edits"),
    "images_variations": Door("", "/images/variations"),
}
SPEECH: Final = {
    "speech": Door("", "/audio/speech"),
    "transcriptions": Door("", "/audio/transcriptions"),
    "translations": Door("", "/audio/translations"),
}
MODERATIONS: Final = {"moderations": Door("", "/moderations")}
FILES: Final = {"files": Door("", "/files"), "uploads": Door("", "/uploads"), "batches": Door("", "/batches")}
REALTIME: Final = {"realtime": Door("", "/realtime")}
MODELS: Final = {"models": Door("", "/models")}
MESSAGES: Final = {
    "messages": Door("anthropic_messages", "/v1/messages"),
    "count_tokens": Door("anthropic_messages", "/v1/messages/count_tokens"),
}
MESSAGES_CHAT: Final = {"chat": MESSAGES["messages"], "count_tokens": MESSAGES["count_tokens"]}
"""Of a vendor whose main dialect they are."""
GENERATE: Final = {"chat": Door("gemini_generate", "/v1beta/models/{model}:{action}")}
GEMINI_MORE: Final = {
    "embeddings": Door("gemini_embeddings", "/v1beta/models/{model}:{action}"),
    "count_tokens": Door("gemini_generate", "/v1beta/models/{model}:countTokens"),
    "models": Door("", "/v1beta/models"),
}
CONVERSE: Final = {"chat": Door("bedrock_converse", "/model/{model}/{action}")}
COHERE: Final = {"chat": Door("cohere_chat", "/v2/chat"), "embeddings": Door("cohere_embeddings", "/v2/embed")}
OLLAMA: Final = {"chat": Door("ollama_chat", "/api/chat"), "embeddings": Door("ollama_embeddings", "/api/embed")}
OLLAMA_MORE: Final = {"predict": OLLAMA["chat"], "embed": OLLAMA["embeddings"]}
"""Of a vendor whose main dialect is another."""

OPENAI_SHAPED: Final = {
    "c": CHAT, "r": RESPONSES, "e": EMBEDDINGS, "n": RERANK, "i": IMAGES, "s": SPEECH, "m": MODERATIONS, "f": FILES,
    "t": REALTIME,
}  # fmt: skip
"""Letter of the tables -> doors of a vendor whose paths are OpenAI's."""


def openai_doors(letters: str) -> dict[str, Door]:
    """The doors of an OpenAI-shaped vendor that serves *letters* (``"c r e"``), and its list of models."""
    doors: dict[str, Door] = {}
    for letter in letters.split():
        doors |= OPENAI_SHAPED[letter]
    return doors | MODELS


def under(
    path: str, doors: dict[str, Door], base: str = "", auth: Bearer | HeaderKey | QueryKey | None = None
) -> dict[str, Door]:  # fmt: skip
    """*doors* with *path* put before theirs, *base* as their base URL and *auth* as the way of the key where they have
    another than the provider's."""
    return {
        surface: Door(door.dialect, path + door.path, auth or door.auth, base or door.base, door.stream_path)
        for surface, door in doors.items()
    }
