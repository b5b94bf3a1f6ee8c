"""Nomic, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Bearer, Door, Preset


class Nomic(Preset):
    title = "Nomic"
    base_url = "https://api-atlas.nomic.ai/v1"
    auth = Bearer(("NOMIC_API_KEY",))
    doors = {"embeddings": Door("", "/embedding/text")}
    checked = ("2026-11", 1)
