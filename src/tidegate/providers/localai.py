"""LocalAI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import NoAuth, Preset


class Localai(Preset):
    title = "LocalAI"
    base_url = "{base_url}"
    auth = NoAuth()
    doors = openai_doors("c e")
    checked = ("2026-11", 0)
