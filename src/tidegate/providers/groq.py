"""Groq, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Groq(Preset):
    title = "Groq"
    base_url = "https://api.groq.com/openai/v1"
    auth = Bearer(("GROQ_API_KEY",))
    doors = openai_doors("c r s")
    accepts = ("reasoning_format",)
    lacks = ("logit_bias", "logprobs")
    usage = {"x_groq.usage": "usage"}
    limits = "openai"
    checked = ("2026-11", 2)
