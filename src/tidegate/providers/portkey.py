"""Portkey, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import HeaderKey, Preset


class Portkey(Preset):
    title = "Portkey"
    base_url = "https://api.portkey.ai/v1"
    auth = HeaderKey(("PORTKEY_API_KEY",), header="x-portkey-api-key")
    doors = openai_doors("c e")
    checked = ("2026-11", 2)
