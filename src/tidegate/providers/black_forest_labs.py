"""Black Forest Labs, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Door, HeaderKey, Preset


class BlackForestLabs(Preset):
    title = "Black Forest Labs"
    base_url = "https://api.bfl.ai/v1"
    auth = HeaderKey(("BFL_API_KEY",), header="x-key")
    doors = {"images": Door("", "/{model}")}
    checked = ("2026-11", 2)
