"""Stability AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Bearer, Door, Preset


class Stability(Preset):
    title = "Stability AI"
    base_url = "https://api.stability.ai"
    auth = Bearer(("STABILITY_API_KEY",))
    doors = {"images": Door("", "/v2beta/stable-image/generate/core")}
    checked = ("2026-11", 2)
