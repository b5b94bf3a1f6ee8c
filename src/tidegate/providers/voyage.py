"""Voyage AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Voyage(Preset):
    title = "Voyage AI"
    base_url = "https://api.voyageai.com/v1"
    auth = Bearer(("VOYAGE_API_KEY",))
    doors = openai_doors("e n")
    checked = ("2026-11", 2)
