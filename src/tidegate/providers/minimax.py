"""MiniMax, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class Minimax(Preset):
    title = "MiniMax"
    base_url = "https://api.minimax.io/v1"
    auth = Bearer(("MINIMAX_API_KEY",))
    doors = openai_doors("c") | under("/anthropic", MESSAGES, "https://api.minimax.io")
    checked = ("2026-11", 2)
