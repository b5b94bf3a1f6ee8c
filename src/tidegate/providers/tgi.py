"""Text Generation Inference, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import NoAuth, Preset


class Tgi(Preset):
    title = "Text Generation Inference"
    base_url = "{base_url}"
    auth = NoAuth()
    doors = openai_doors("c")
    checked = ("2026-11", 0)
