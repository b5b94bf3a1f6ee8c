"""Recraft, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Recraft(Preset):
    title = "Recraft"
    base_url = "https://external.api.recraft.ai/v1"
    auth = Bearer(("RECRAFT_API_KEY",))
    doors = openai_doors("i")
    checked = ("2026-11", 2)
