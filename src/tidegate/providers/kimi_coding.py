"""Kimi for coding, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES_CHAT
from tidegate.ports.provider import HeaderKey, Preset


class KimiCoding(Preset):
    title = "Kimi for coding"
    base_url = "https://api.kimi.com/coding"
    auth = HeaderKey(("KIMI_API_KEY",))
    doors = MESSAGES_CHAT
    version = "2023-06-01"
    checked = ("2026-11", 2)
