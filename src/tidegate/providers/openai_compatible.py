"""Any OpenAI-shaped server, as data (LLM 8). A key that is configured goes as a bearer token."""

from __future__ import annotations

from tidegate.ports.doors import COMPLETIONS, openai_doors
from tidegate.ports.provider import NoAuth, Preset


class OpenaiCompatible(Preset):
    title = "Any OpenAI-shaped server"
    base_url = "{base_url}"
    auth = NoAuth()
    doors = openai_doors("c r e i s n") | COMPLETIONS
    checked = ("2026-11", 2)
