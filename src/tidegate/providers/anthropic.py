"""Anthropic, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import MESSAGES_CHAT
from tidegate.ports.provider import Door, HeaderKey, Preset


class Anthropic(Preset):
    title = "Anthropic"
    base_url = "https://api.anthropic.com"
    auth = HeaderKey(("ANTHROPIC_API_KEY",))
    doors = MESSAGES_CHAT | {
        "files": Door("", "/v1/files"),
        "batches": Door("", "/v1/messages/batches"),
        "models": Door("", "/v1/models"),
    }
    version = "2026-10-21"
    limits = "anthropic"
    checked = ("2026-11", 2)
