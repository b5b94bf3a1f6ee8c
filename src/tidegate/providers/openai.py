"""OpenAI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import COMPLETIONS, INPUT_TOKENS, openai_doors
from tidegate.ports.provider import Bearer, Preset


class Openai(Preset):
    title = "OpenAI"
    base_url = "https://api.openai.com/v1"
    auth = Bearer(("OPENAI_API_KEY",))
    doors = openai_doors("c r e i s m f t") | COMPLETIONS | INPUT_TOKENS
    limits = "openai"
    checked = ("2026-11", 2)
