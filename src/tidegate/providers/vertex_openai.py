"""OpenAI-shaped models on Vertex AI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Preset, ServiceAccount


class VertexOpenai(Preset):
    title = "OpenAI-shaped models on Vertex AI"
    base_url = (
        "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/endpoints/openapi"
    )
    auth = ServiceAccount(("GOOGLE_APPLICATION_CREDENTIALS",))
    doors = openai_doors("c")
    prices = "google"
    checked = ("2026-11", 2)
