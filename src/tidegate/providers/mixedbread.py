"""Mixedbread, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Door, Preset


class Mixedbread(Preset):
    title = "Mixedbread"
    base_url = "https://api.mixedbread.com/v1"
    auth = Bearer(("MXBAI_API_KEY",))
    doors = openai_doors("e") | {"rerank": Door("", "/reranking")}
    checked = ("2026-11", 1)
