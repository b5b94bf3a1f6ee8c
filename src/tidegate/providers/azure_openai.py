"""Azure OpenAI, as data (LLM 8)."""

from __future__ import annotations

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import ClientCredentials, Preset


class AzureOpenai(Preset):
    title = "Azure OpenAI"
    base_url = "https://{resource}.openai.azure.com/openai/v1"
    auth = ClientCredentials(
        ("AZURE_OPENAI_API_KEY",),
        token_url="https://login.microsoftonline.com/{entra_tenant}/oauth2/v2.0/token",
        scope="https://cognitiveservices.azure.com/.default",
        header="api-key",
    )
    doors = openai_doors("c r e i s f t")
    vendor = "openai"
    prices = "azure"
    defaults = {"entra_tenant": "common"}
    limits = "openai"
    checked = ("2026-11", 2)
