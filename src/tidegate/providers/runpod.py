"""RunPod, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class Runpod(Preset):
    title = "RunPod"
    base_url = "https://api.runpod.ai/v2/{endpoint}/openai/v1"
    auth = Bearer(("RUNPOD_API_KEY",))
    doors = openai_doors("c")
    checked = ("2026-11", 1)
