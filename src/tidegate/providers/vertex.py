"""Google Vertex AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.provider import Door, Preset, ServiceAccount


class Vertex(Preset):
    title = "Google Vertex AI"
    base_url = (
        "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/google"
    )
    auth = ServiceAccount(("GOOGLE_APPLICATION_CREDENTIALS",))
    doors = {"chat": Door("gemini_generate", "/models/{model}:{action}")}
    vendor = "gemini"
    prices = "google"
    checked = ("2026-11", 2)
