"""xAI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Xai(Preset):
    title = "xAI"
    base_url = "https://api.x.ai/v1"
    auth = Bearer(("XAI_API_KEY",))
    doors = openai_doors("c r i")
    prices = "x-ai"
    usage = {"completion_tokens_details.reasoning_tokens": "output+"}
    checked = ("2026-11", 2)
