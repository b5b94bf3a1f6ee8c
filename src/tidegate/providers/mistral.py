"""Mistral, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Mistral(Preset):
    title = "Mistral"
    base_url = "https://api.mistral.ai/v1"
    auth = Bearer(("MISTRAL_API_KEY",))
    doors = openai_doors("c e s m")
    rename = {"max_completion_tokens": "max_tokens", "seed": "random_seed", "required": "any", "developer": "system"}
    accepts = ("safe_prompt", "prompt_mode")
    lacks = ("logit_bias", "logprobs")
    id_size = 9
    checked = ("2026-11", 2)
