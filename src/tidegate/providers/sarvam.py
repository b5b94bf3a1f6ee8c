"""Sarvam, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import HeaderKey, Preset


class Sarvam(Preset):
    title = "Sarvam"
    base_url = "https://api.sarvam.ai/v1"
    auth = HeaderKey(("SARVAM_API_KEY",), header="api-subscription-key")
    doors = openai_doors("c")
    checked = ("2026-11", 2)
