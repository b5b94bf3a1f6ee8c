"""Deepgram, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Bearer, Door, Preset


class Deepgram(Preset):
    title = "Deepgram"
    base_url = "https://api.deepgram.com/v1"
    auth = Bearer(("DEEPGRAM_API_KEY",), prefix="Token")
    doors = {"transcriptions": Door("", "/listen"), "speech": Door("", "/speak")}
    checked = ("2026-11", 2)
