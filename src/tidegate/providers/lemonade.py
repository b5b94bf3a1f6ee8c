"""Lemonade, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import NoAuth, Preset


class Lemonade(Preset):
    title = "Lemonade"
    base_url = "http://127.0.0.1:8000/api/v1"
    auth = NoAuth(("LEMONADE_API_KEY",))
    doors = openai_doors("c e")
    checked = ("2026-11", 1)
