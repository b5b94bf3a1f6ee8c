"""Cohere, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import COHERE
from tidegate.ports.provider import Bearer, Door, Preset


class Cohere(Preset):
    title = "Cohere"
    base_url = "https://api.cohere.com"
    auth = Bearer(
        (
            "CO_API_KEY",
            "COHERE_API_KEY",
        )
    )
    doors = COHERE | {
        "rerank": Door("", "/v2/rerank"),
        "models": Door("", "/v1/models"),
    }
    checked = ("2026-11", 2)
