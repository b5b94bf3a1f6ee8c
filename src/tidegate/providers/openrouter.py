"""OpenRouter, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.dialect import Effort
from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class Openrouter(Preset):
    title = "OpenRouter"
    base_url = "https://openrouter.ai/api/v1"
    auth = Bearer(("OPENROUTER_API_KEY",))
    doors = openai_doors("c r e") | under("", MESSAGES, "https://openrouter.ai/api")
    accepts = ("provider", "models", "transforms", "top_k", "min_p", "repetition_penalty")
    thinking = Effort(ask="reasoning.effort", text="reasoning", replay="tool_turns")
    usage = {"cost": "cost"}
    faults = {402: "upstream_quota"}
    checked = ("2026-11", 2)
