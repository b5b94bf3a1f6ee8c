"""ElevenLabs, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Door, HeaderKey, Preset


class Elevenlabs(Preset):
    title = "ElevenLabs"
    base_url = "https://api.elevenlabs.io"
    auth = HeaderKey(("ELEVENLABS_API_KEY",), header="xi-api-key")
    doors = {"speech": Door("", "/v1/text-to-speech/{voice}"), "transcriptions": Door("", "/v1/speech-to-text")}
    checked = ("2026-11", 2)
