"""Google Gemini, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import GEMINI_MORE, GENERATE
from tidegate.ports.provider import HeaderKey, Preset


class Gemini(Preset):
    title = "Google Gemini"
    base_url = "https://generativelanguage.googleapis.com"
    auth = HeaderKey(
        (
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
        ),
        header="x-goog-api-key",
    )
    doors = GENERATE | GEMINI_MORE
    prices = "google"
    checked = ("2026-11", 2)
