"""Another tidegate, as data (LLM 8). The base URL has no version segment: every door brings its own."""

from __future__ import annotations

from tidegate.ports.doors import COMPLETIONS, MESSAGES, openai_doors, under
from tidegate.ports.provider import Bearer, Preset


class Tidegate(Preset):
    title = "Another tidegate"
    base_url = "{base_url}"
    auth = Bearer(("TIDEGATE_API_KEY",))
    doors = under("/v1", openai_doors("c r e i s n m f t") | COMPLETIONS) | under("", MESSAGES)
    checked = ("2026-11", 2)
