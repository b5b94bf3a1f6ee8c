"""Soniox, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Bearer, Door, Preset


class Soniox(Preset):
    title = "Soniox"
    base_url = "https://api.soniox.com"
    auth = Bearer(("SONIOX_API_KEY",))
    doors = {"transcriptions": Door("", "/v1/transcriptions")}
    checked = ("2026-11", 2)
