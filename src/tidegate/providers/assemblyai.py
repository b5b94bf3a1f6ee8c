"""AssemblyAI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import CHAT, under
from tidegate.ports.provider import Door, HeaderKey, Preset


class Assemblyai(Preset):
    title = "AssemblyAI"
    base_url = "https://api.assemblyai.com"
    auth = HeaderKey(("ASSEMBLYAI_API_KEY",), header="authorization")
    doors = {"transcriptions": Door("", "/v2/transcript")} | under("", CHAT, "https://llm-gateway.assemblyai.com/v1")
    checked = ("2026-11", 2)
