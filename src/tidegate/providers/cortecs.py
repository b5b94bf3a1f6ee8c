"""Cortecs, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class Cortecs(Preset):
    title = "Cortecs"
    base_url = "https://api.cortecs.ai/v1"
    auth = Bearer(("CORTECS_API_KEY",))
    doors = openai_doors("c r") | under("", MESSAGES, "https://api.cortecs.ai")
    checked = ("2026-11", 2)
