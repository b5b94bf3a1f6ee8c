"""Meta, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class Meta(Preset):
    title = "Meta"
    base_url = "https://api.meta.ai/v1"
    auth = Bearer(
        (
            "META_API_KEY",
            "MODEL_API_KEY",
        )
    )
    doors = openai_doors("c r") | under("", MESSAGES, "https://api.meta.ai")
    checked = ("2026-11", 2)
