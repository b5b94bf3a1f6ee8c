"""Ollama, as data (LLM 8). A key that is configured goes as a bearer token."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, OLLAMA_MORE, openai_doors, under
from tidegate.ports.provider import NoAuth, Preset


class Ollama(Preset):
    title = "Ollama"
    base_url = "http://127.0.0.1:11434"
    auth = NoAuth()
    doors = under("/v1", openai_doors("c r e")) | under("", MESSAGES) | OLLAMA_MORE
    checked = ("2026-11", 2)
