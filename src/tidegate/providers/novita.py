"""Novita AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Novita(Preset):
    title = "Novita AI"
    base_url = "https://api.novita.ai/openai"
    auth = Bearer(("NOVITA_API_KEY",))
    doors = openai_doors("c e n")
    accepts = ("top_k", "min_p", "repetition_penalty")
    checked = ("2026-11", 2)
