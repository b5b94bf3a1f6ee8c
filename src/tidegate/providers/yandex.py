"""Yandex Cloud, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Yandex(Preset):
    title = "Yandex Cloud"
    base_url = "https://llm.api.cloud.yandex.net/v1"
    auth = Bearer(("YANDEX_API_KEY",), prefix="Api-Key")
    doors = openai_doors("c e r")
    checked = ("2026-11", 0)
