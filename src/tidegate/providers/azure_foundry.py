"""Azure AI Foundry, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import ClientCredentials, Preset


class AzureFoundry(Preset):
    title = "Azure AI Foundry"
    base_url = "https://{resource}.services.ai.azure.com/models"
    auth = ClientCredentials(
        ("AZURE_API_KEY",),
        token_url="https://login.microsoftonline.com/{entra_tenant}/oauth2/v2.0/token",
        scope="https://cognitiveservices.azure.com/.default",
        header="api-key",
    )
    doors = openai_doors("c e")
    prices = "azure"
    query = (("api-version", "{api_version}"),)
    defaults = {"entra_tenant": "common", "api_version": "2024-05-01-preview"}
    checked = ("2026-11", 2)
