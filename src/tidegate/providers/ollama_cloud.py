"""Ollama Cloud, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, OLLAMA, OLLAMA_MORE, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class OllamaCloud(Preset):
    title = "Ollama Cloud"
    base_url = "https://ollama.com"
    auth = Bearer(("OLLAMA_API_KEY",))
    doors = (
        under("/v1", openai_doors("c"))
        | under("", MESSAGES)
        | {"predict": OLLAMA_MORE["predict"], "embeddings": OLLAMA["embeddings"]}
    )
    checked = ("2026-11", 2)
