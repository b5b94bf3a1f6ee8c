"""DeepSeek, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.dialect import Effort
from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, HeaderKey, Preset


class Deepseek(Preset):
    title = "DeepSeek"
    base_url = "https://api.deepseek.com"
    auth = Bearer(("DEEPSEEK_API_KEY",))
    doors = openai_doors("c") | under("/anthropic", MESSAGES, auth=HeaderKey())
    rename = {"max_completion_tokens": "max_tokens", "developer": "system"}
    accepts = ("thinking",)
    lacks = ("n", "logit_bias", "image", "prediction", "output.schema")
    thinking = Effort(ask="reasoning_effort", toggle="thinking.type", text="reasoning_content", replay="tool_turns")
    usage = {"prompt_cache_hit_tokens": "cache_read"}
    faults = {402: "upstream_quota"}
    checked = ("2026-11", 2)
