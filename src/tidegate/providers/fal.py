"""fal, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Bearer, Door, Preset


class Fal(Preset):
    title = "fal"
    base_url = "https://fal.run"
    auth = Bearer(("FAL_KEY",), prefix="Key")
    doors = {"images": Door("", "/{model}")}
    checked = ("2026-11", 2)
