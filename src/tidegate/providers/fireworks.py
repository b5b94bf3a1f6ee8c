"""Fireworks AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Fireworks(Preset):
    title = "Fireworks AI"
    base_url = "https://api.fireworks.ai/inference/v1"
    auth = Bearer(("FIREWORKS_API_KEY",))
    doors = openai_doors("c r e n")
    accepts = ("top_k", "min_p", "repetition_penalty")
    checked = ("2026-11", 2)
