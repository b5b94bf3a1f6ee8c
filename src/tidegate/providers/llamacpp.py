"""llama.cpp, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import COMPLETIONS, MESSAGES, openai_doors
from tidegate.ports.provider import NoAuth, Preset


class Llamacpp(Preset):
    title = "llama.cpp"
    base_url = "http://127.0.0.1:8080/v1"
    auth = NoAuth()
    doors = openai_doors("c r e n") | COMPLETIONS | MESSAGES
    rename = {"max_completion_tokens": "max_tokens"}
    accepts = ("top_k", "min_p", "repetition_penalty", "grammar")
    checked = ("2026-11", 2)
