"""LM Studio, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import COMPLETIONS, MESSAGES, openai_doors
from tidegate.ports.provider import NoAuth, Preset


class LmStudio(Preset):
    title = "LM Studio"
    base_url = "http://127.0.0.1:1234/v1"
    auth = NoAuth(("LM_API_TOKEN",))
    doors = openai_doors("c r e") | COMPLETIONS | MESSAGES
    checked = ("2026-11", 2)
