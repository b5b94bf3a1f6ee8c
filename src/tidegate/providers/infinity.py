"""Infinity, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import NoAuth, Preset


class Infinity(Preset):
    title = "Infinity"
    base_url = "{base_url}"
    auth = NoAuth()
    doors = openai_doors("e n")
    checked = ("2026-11", 0)
