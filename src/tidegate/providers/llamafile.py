"""llamafile, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import NoAuth, Preset


class Llamafile(Preset):
    title = "llamafile"
    base_url = "http://127.0.0.1:8080/v1"
    auth = NoAuth()
    doors = openai_doors("c e")
    checked = ("2026-11", 2)
