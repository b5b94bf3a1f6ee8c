"""Codestral, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Door, Preset


class Codestral(Preset):
    title = "Codestral"
    base_url = "https://codestral.mistral.ai/v1"
    auth = Bearer(("CODESTRAL_API_KEY",))
    doors = openai_doors("c") | {"completions": Door("openai_completions", "/fim/completions")}
    rename = {"max_completion_tokens": "max_tokens", "seed": "random_seed", "required": "any", "developer": "system"}
    prices = "mistral"
    id_size = 9
    checked = ("2026-11", 1)
