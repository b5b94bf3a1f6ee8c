"""MiniMax (China), as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class MinimaxCn(Preset):
    title = "MiniMax (China)"
    base_url = "https://api.minimaxi.com/v1"
    auth = Bearer(("MINIMAX_API_KEY",))
    doors = openai_doors("c") | under("/anthropic", MESSAGES, "https://api.minimaxi.com")
    prices = "minimax"
    checked = ("2026-11", 2)
