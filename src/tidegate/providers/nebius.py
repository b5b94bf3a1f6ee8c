"""Nebius Token Factory, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Nebius(Preset):
    title = "Nebius Token Factory"
    base_url = "https://api.tokenfactory.nebius.com/v1"
    auth = Bearer(("NEBIUS_API_KEY",))
    doors = openai_doors("c e")
    accepts = ("top_k",)
    checked = ("2026-11", 1)
