"""Jina AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Jina(Preset):
    title = "Jina AI"
    base_url = "https://api.jina.ai/v1"
    auth = Bearer(("JINA_API_KEY",))
    doors = openai_doors("e n")
    checked = ("2026-11", 2)
