"""Cloudflare Workers AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Cloudflare(Preset):
    title = "Cloudflare Workers AI"
    base_url = "https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1"
    auth = Bearer(("CLOUDFLARE_API_TOKEN",))
    doors = openai_doors("c e")
    checked = ("2026-11", 2)
