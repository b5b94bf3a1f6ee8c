"""Anthropic on Vertex AI, as data (LLM 8). The version stands in the body, and the model in the path only."""

from __future__ import annotations

from tidegate.ports.provider import Door, Preset, ServiceAccount


class VertexAnthropic(Preset):
    title = "Anthropic on Vertex AI"
    base_url = (
        "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/anthropic"
    )
    auth = ServiceAccount(("GOOGLE_APPLICATION_CREDENTIALS",))
    doors = {
        "chat": Door("anthropic_messages", "/models/{model}:rawPredict", stream_path="/models/{model}:streamRawPredict")
    }
    vendor = "anthropic"
    version = "vertex-2023-10-16"
    prices = "google"
    checked = ("2026-11", 2)
