"""vLLM, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import COMPLETIONS, openai_doors
from tidegate.ports.provider import Bearer, Preset


class Vllm(Preset):
    title = "vLLM"
    base_url = "http://127.0.0.1:8000/v1"
    auth = Bearer(("VLLM_API_KEY",))
    doors = openai_doors("c r e n") | COMPLETIONS
    accepts = ("top_k", "min_p", "repetition_penalty", "guided_json", "guided_regex", "guided_choice", "guided_grammar")
    checked = ("2026-11", 2)
